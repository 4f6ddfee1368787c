-- A fake of Snabb's core.app, for tests: makes apps and links, then pulls and pushes for ever, with a pause of 1 ms between turns.
local ffi = require("ffi")
local link, timer = require("core.link"), require("core.timer")
ffi.cdef[[ int usleep(unsigned int); ]]
local M = { app_table = {} }
function M.configure (c)
   for name, a in pairs(c.apps) do
      local app = a.class:new(a.arg)
      app.input, app.output = {}, {}
      M.app_table[name] = app
   end
   for _, l in ipairs(c.links) do
      local queue = link.new()
      M.app_table[l[1]].output[l[2]], M.app_table[l[3]].input[l[4]] = queue, queue
   end
end
function M.main (options)
   assert(options.no_report)
   while true do
      for _, app in pairs(M.app_table) do if app.pull then app:pull() end end
      for _, app in pairs(M.app_table) do if app.push then app:push() end end
      timer.run()
      ffi.C.usleep(1000)
   end
end
return M
