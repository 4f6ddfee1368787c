-- Counts each packet once in a network whose routers all export, and leaves out what is no traffic of customers.

-- The interfaces of border routers that face other networks, by the address that the router exports from.
local borders = {
  ["192.0.2.1"] = { [3] = true, [4] = true },
  ["192.0.2.2"] = { [17] = true },
}

-- Our own monitoring, which looks like scans.
local probes = networks{"198.51.100.240/28", "2001:db8:ffff::/64"}

local TCP, UDP = 6, 17

function netflow(flow)
  local outside = borders[flow.exporter]
  if not outside then
    return false -- a core router: a border router has told it already
  end
  if not outside[flow.input] and not outside[flow.output] then
    return false -- between two of our own interfaces
  end
  if probes:has_src(flow) or probes:has_dst(flow) then
    return false
  end
  if flow.exporter == "192.0.2.2" and flow.rate == 1 then
    return 1024 -- this router samples one packet in 1024 and does not say so
  end
end

function sflow(flow)
  if flow.notice then
    return false -- told of packets that were dropped, beside the samples
  end
  -- BGP between the routers themselves.
  if flow.protocol == TCP and (flow.src_port == 179 or flow.dst_port == 179) then
    return false
  end
  return not (flow.protocol == UDP and probes:has_src(flow))
end
