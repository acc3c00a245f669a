// How large a packet of a workload may be, so that every way out of the host takes it whole.
#pragma once

#include <cstdint>

#include "dataplane/dataplane.h"
#include "dataplane/routes/route_plan.h"
#include "policy/host_settings.h"

namespace ocicat::dataplane {

// Interfaces of tunnels that pools ask for, as far as they are up.
std::vector<TunnelLink> tunnels_in_use(const Links& links, const HostSettings& settings);

// The least that the host's tunnels take, where it has any in use; else its uplinks (HostSettings::uplinks),
// and where none is so named, all its interfaces but workloads'. What is down does not count; 1500 where
// nothing is up.
std::uint32_t workload_mtu(const Links& links, const HostSettings& settings);

}  // namespace ocicat::dataplane
