-- A fake of Snabb's core.packet, for tests: packets of up to 10 KiB that are used again.
local ffi = require("ffi")
ffi.cdef[[ struct packet { uint16_t length; uint8_t data[10240]; }; ]]
local free, M = {}, {}
function M.allocate () return table.remove(free) or ffi.new("struct packet") end
function M.free (p) free[#free + 1] = p end
return M
