-- A fake of Snabb's core.timer, for tests: timers of a loop's turns, of about 1 ms each.
local M = { all = {} }
function M.new (name, fn, nanos, mode)
   assert(mode == "repeating")
   return { fn = fn, every = math.ceil(nanos / 1e6), left = 0 }
end
function M.activate (t) M.all[#M.all + 1] = t end
function M.run ()
   for _, t in ipairs(M.all) do
      t.left = t.left - 1
      if t.left <= 0 then t.left = t.every; t.fn(t) end
   end
end
return M
