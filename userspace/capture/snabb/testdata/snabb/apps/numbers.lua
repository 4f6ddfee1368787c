-- An app for tests: sends frames that begin with their number, a 4-byte integer, and are filled with its lowest byte. Its configuration is
-- { most = how many, length = function from a number to a length, stop = "hang" or "end" or nil: what comes after the last }.
local ffi = require("ffi")
local link, packet = require("core.link"), require("core.packet")
local Numbers = {}
Numbers.__index = Numbers
function Numbers:new (c) return setmetatable({ c = c, at = 0 }, Numbers) end
function Numbers:pull ()
   local c = self.c
   if self.at == c.most then
      if c.stop == "end" then print("the end"); os.exit(3) end
      while c.stop == "hang" do ffi.C.usleep(1000) end
   end
   for _ = 1, 200 do
      if self.at == c.most then return end
      local p = packet.allocate()
      p.length = c.length(self.at)
      ffi.fill(p.data, p.length, self.at % 256)
      ffi.cast("uint32_t *", p.data)[0] = self.at
      link.transmit(self.output.out, p)
      self.at = self.at + 1
   end
end
return { Numbers = Numbers }
