-- A fake of Snabb's apps.socket.raw, for tests: it receives from a real packet socket.
local ffi = require("ffi")
local link, packet = require("core.link"), require("core.packet")
ffi.cdef[[
struct fake_sockaddr_ll { uint16_t family, protocol; int index; uint16_t kind; uint8_t packet, length, address[8]; };
unsigned int if_nametoindex(const char *);
int socket(int, int, int);
int bind(int, const void *, unsigned int);
ssize_t recvfrom(int, void *, size_t, int, void *, unsigned int *);
]]
local RawSocket = {}
RawSocket.__index = RawSocket
function RawSocket:new (name)
   local index = ffi.C.if_nametoindex(name)
   assert(index > 0, "no interface " .. name)
   local fd = ffi.C.socket(17, 3, 0x0300) -- AF_PACKET, SOCK_RAW, ETH_P_ALL
   assert(fd >= 0, "no packet socket")
   local address = ffi.new("struct fake_sockaddr_ll", { family = 17, protocol = 0x0300, index = index })
   assert(ffi.C.bind(fd, address, ffi.sizeof(address)) == 0, "cannot bind")
   return setmetatable({ fd = fd, from = ffi.new("struct fake_sockaddr_ll"), size = ffi.new("unsigned int[1]") }, RawSocket)
end
function RawSocket:pull ()
   while not link.full(self.output.tx) do
      local p = packet.allocate()
      self.size[0] = ffi.sizeof(self.from)
      local n = tonumber(ffi.C.recvfrom(self.fd, p.data, 10240, 0x40, self.from, self.size)) -- MSG_DONTWAIT
      if n <= 0 or self.from.packet == 4 then -- PACKET_OUTGOING
         packet.free(p)
         if n <= 0 then return end
      else
         p.length = n
         link.transmit(self.output.tx, p)
      end
   end
end
return { RawSocket = RawSocket }
