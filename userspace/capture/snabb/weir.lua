-- Runs under `snabb snsh weir.lua RING KIND ARGUMENTS...` and hands every frame to Weir through the ring in the file RING.
--   raw IFNAME          a Linux interface, by a raw socket
--   tap NAME            a tap device
--   pcap FILE           a capture file
--   app MODULE CLASS PORT CONFIGURATION   any Snabb app, for instance a driver: CONFIGURATION is a Lua expression
-- The ring's layout is that of firehose/ring.h. Licence: Apache-2.0.

local ffi = require("ffi")
local engine = require("core.app")
local config = require("core.config")
local link = require("core.link")
local packet = require("core.packet")
local timer = require("core.timer")

-- By other names than Snabb's own declarations of the same functions, which ours would stand before.
ffi.cdef[[
int weir_open(const char *path, int flags, ...) __asm__("open");
void *weir_mmap(void *at, size_t length, int protection, int flags, int file, long offset) __asm__("mmap");
long weir_lseek(int file, long offset, int whence) __asm__("lseek");
int weir_close(int file) __asm__("close");
]]

local DATA, HEADER, MARK = 8192, 16, 0xffffffff

-- Maps the ring that Weir has made.
local function map(path)
   local file = ffi.C.weir_open(path, 2) -- O_RDWR
   assert(file >= 0, "cannot open the ring " .. path)
   local size = ffi.C.weir_lseek(file, 0, 2)
   local memory = ffi.C.weir_mmap(nil, size, 3, 1, file, 0) -- PROT_READ|PROT_WRITE, MAP_SHARED
   ffi.C.weir_close(file)
   assert(ffi.cast("intptr_t", memory) ~= -1, "cannot map the ring " .. path)
   return ffi.cast("uint8_t *", memory), tonumber(size) - DATA
end

local Weir = {}
Weir.__index = Weir

function Weir:new (path)
   local memory, size = map(path)
   return setmetatable({
      size = size,
      words = ffi.cast("volatile uint64_t *", memory),
      data = memory + DATA,
      written = ffi.cast("volatile uint64_t *", memory)[3],
   }, Weir)
end

-- Writes one frame, or counts it as dropped. On x86-64 stores become visible in their order: the count comes last.
function Weir:write (data, length)
   local padded = bit.band(length + 7, bit.bnot(7))
   local need = HEADER + padded
   local at = tonumber(self.written % self.size)
   local skip = 0
   if at + need > self.size then skip = self.size - at end
   if tonumber(self.written - self.words[512]) + skip + need > self.size then -- words[512]: what Weir has read
      self.words[4] = self.words[4] + 1
      return
   end
   if skip > 0 then
      ffi.cast("uint32_t *", self.data + at)[0] = MARK
      self.written = self.written + skip
      at = 0
   end
   local head = ffi.cast("uint32_t *", self.data + at)
   head[0], head[1] = length, length
   ffi.cast("uint64_t *", self.data + at)[1] = 0 -- Weir sets the time
   ffi.copy(self.data + at + HEADER, data, length)
   self.written = self.written + need
   self.words[3] = self.written
end

function Weir:push ()
   local input = self.input.input
   while not link.empty(input) do
      local p = link.receive(input)
      self:write(p.data, p.length)
      packet.free(p)
   end
end

function Weir:beat ()
   self.words[5] = self.words[5] + 1
end

-- The app that frames come from, its configuration and its port.
local function source(kind, arguments)
   if kind == "raw" then return require("apps.socket.raw").RawSocket, arguments[1], "tx" end
   if kind == "tap" then return require("apps.tap.tap").Tap, arguments[1], "output" end
   if kind == "pcap" then return require("apps.pcap.pcap").PcapReader, arguments[1], "output" end
   if kind == "app" then
      local expression = assert(loadstring("return " .. (arguments[4] or "nil")))
      return require(arguments[1])[arguments[2]], expression(), arguments[3]
   end
   error("unknown kind " .. tostring(kind) .. "; expected raw, tap, pcap or app")
end

local arguments = main and main.parameters or { ... }
local path, kind = table.remove(arguments, 1), table.remove(arguments, 1)
local class, configuration, port = source(kind, arguments)

local c = config.new()
config.app(c, "source", class, configuration)
config.app(c, "weir", Weir, path)
config.link(c, "source." .. port .. " -> weir.input")
engine.configure(c)
timer.activate(timer.new("heartbeat", function () engine.app_table.weir:beat() end, 1e8, "repeating"))
engine.main({ no_report = true })
