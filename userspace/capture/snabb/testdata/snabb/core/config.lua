-- A fake of Snabb's core.config, for tests.
local M = {}
function M.new () return { apps = {}, links = {} } end
function M.app (c, name, class, arg)
   assert(type(name) == "string" and type(class) == "table")
   c.apps[name] = { class = class, arg = arg }
end
function M.link (c, spec)
   local from, output, to, input = spec:match("^ *([%w_]+)%.([%w_]+) *-> *([%w_]+)%.([%w_]+) *$")
   assert(from, "link parse error: " .. spec)
   c.links[#c.links + 1] = { from, output, to, input }
end
return M
