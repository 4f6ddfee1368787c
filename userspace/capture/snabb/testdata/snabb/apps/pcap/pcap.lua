-- A fake of Snabb's apps.pcap.pcap, for tests: it reads a classic pcap file of this machine's byte order.
local ffi = require("ffi")
local link, packet = require("core.link"), require("core.packet")
local PcapReader = {}
PcapReader.__index = PcapReader
function PcapReader:new (path)
   local file = assert(io.open(path, "rb"))
   assert(file:read(24))
   return setmetatable({ file = file }, PcapReader)
end
function PcapReader:pull ()
   while not link.full(self.output.output) do
      local head = self.file:read(16)
      if not head then return end
      local p = packet.allocate()
      p.length = ffi.cast("const uint32_t *", head)[2]
      ffi.copy(p.data, self.file:read(p.length), p.length)
      link.transmit(self.output.output, p)
   end
end
return { PcapReader = PcapReader }
