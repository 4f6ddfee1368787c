-- Leaves out the traffic of some router interfaces, as FastNetMon's example of hooks did. The list is in a file beside this one.

local json = require("json")
local excluded = json.decode(read_file("excluded_ports.json"))

local function is_excluded(agent, interface)
  local interfaces = excluded[agent]
  return interfaces ~= nil and interfaces[tostring(interface)] ~= nil
end

function process_netflow(agent, flow)
  if is_excluded(agent, flow.if_index_in) then
    return false
  end
  return true
end

function process_sflow(agent, flow)
  if is_excluded(agent, flow.outputPort) then
    return false
  end
  return true
end
