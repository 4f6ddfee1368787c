-- A fake `snabb snsh SCRIPT ARGUMENTS...`, for tests: a plain LuaJIT with the fake modules beside this file.
local folder = arg[0]:match("^(.*)/")
package.path = folder .. "/?.lua"
local words = { ... }
assert(table.remove(words, 1) == "snsh", "the fake knows snsh only")
local script = table.remove(words, 1)
main = { parameters = words }
dofile(script)
