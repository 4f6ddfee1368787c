-- A fake of Snabb's core.link, for tests: a queue.
local M = {}
function M.new () return { first = 1, last = 0 } end
function M.empty (l) return l.first > l.last end
function M.full (l) return l.last - l.first >= 1023 end
function M.transmit (l, p) l.last = l.last + 1; l[l.last] = p end
function M.receive (l)
   local p = l[l.first]
   l[l.first] = nil
   l.first = l.first + 1
   return p
end
return M
