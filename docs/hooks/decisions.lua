-- Has a say in what Weir decides, for a network with servers of its own, a test network, and a customer who wants to be asked first.

-- Load tests are run against these on purpose.
local tests = networks{"203.0.113.240/28", "2001:db8:7e57::/48"}

-- Name servers: to drop all of their traffic does more harm than most attacks on them.
local name_servers = networks{"203.0.113.53", "2001:db8::53"}

-- The customer's networks, one a line, are in a file beside this one.
local asks_first = networks(read_file("asks_first.txt"))

-- How often each target was attacked. It is begun anew when it gets large: what a script remembers must be bounded.
local attacks, targets = {}, 0

function on_threshold(event)
  if tests:has_target(event) then
    return { veto = true, why = "a load test of our own" }
  end
  -- Few hosts send much at the backup network at night: only its packets per second count.
  if event.hostgroup == "backups" and event.metric == "mbps" then
    return false
  end
end

function on_attack(attack)
  if targets > 10000 then
    attacks, targets = {}, 0
  end
  if not attacks[attack.target] then
    attacks[attack.target] = 0
    targets = targets + 1
  end
  attacks[attack.target] = attacks[attack.target] + 1
  if attack.direction == "outgoing" and attack.pps < 2 * attack.threshold and attack.metric == "pps" then
    return { veto = true, why = "one of our own servers, and not much: we call its owner" }
  end
end

function on_mitigate(attack, response)
  if asks_first:has_target(attack) then
    return { veto = true, why = "this customer wants to be asked first" }
  end
  if name_servers:has_target(attack) and response.drop then
    return { drop = false, why = "a name server is never dropped as a whole" }
  end
  -- Real sources, sure of it: the upstream provider's filter can stop them.
  if attack.sources == "real" and (attack.confidence or 0) >= 0.9 then
    return { communities = { "64500:666" } }
  end
  -- The third attack on one target, on the strongest rung at once and for a day.
  if (attacks[attack.target] or 0) >= 3 and response.rungs then
    return { rung = response.rungs, ban_time = 24 * 3600, why = "attacked again and again" }
  end
end
