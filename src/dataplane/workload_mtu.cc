#include "dataplane/workload_mtu.h"

#include <re2/re2.h>

#include <algorithm>
#include <functional>
#include <tuple>

#include "dataplane/overlay/ipip.h"
#include "dataplane/overlay/vxlan.h"
#include "kernel/queues.h"

namespace ocicat::dataplane {
namespace {

constexpr std::uint32_t kEthernet = 1500;

// 0: there is none.
std::uint32_t least(const Links& links, const std::function<bool(const std::string&)>& counts) {
  std::uint32_t least = 0;
  for (const auto& [name, link] : links) {
    if (link.up && link.mtu != 0 && (least == 0 || link.mtu < least) && counts(name)) least = link.mtu;
  }
  return least;
}

}  // namespace

std::vector<TunnelLink> tunnels_in_use(const Links& links, const HostSettings& settings) {
  static const auto link_local = *Prefix::parse("fe80::/10");
  const auto& overlays = settings.overlays;
  std::vector<TunnelLink> tunnels;
  using Tunnel = std::tuple<bool, std::string, Family>;
  for (const auto& [wanted, name, family] :
       {Tunnel{overlays.vxlan4, vxlan_name(Family::kIpv4), Family::kIpv4},
        Tunnel{overlays.vxlan6, vxlan_name(Family::kIpv6), Family::kIpv6},
        Tunnel{overlays.ipip, kIpipName, Family::kIpv4}}) {
    const auto link = links.find(name);
    if (!wanted || link == links.end() || !link->second.up) continue;
    auto& tunnel = tunnels.emplace_back(TunnelLink{name, link->second.mtu});
    const auto address = std::ranges::find_if(link->second.addresses, [&](const IpAddress& one) {
      return one.family() == family && !link_local.contains(one);
    });
    if (address != link->second.addresses.end()) tunnel.address = *address;
  }
  return tunnels;
}

std::uint32_t workload_mtu(const Links& links, const HostSettings& settings) {
  const auto tunnels = tunnels_in_use(links, settings);
  const auto narrowest = std::ranges::min_element(tunnels, {}, &TunnelLink::mtu);
  if (narrowest != tunnels.end() && narrowest->mtu != 0) return narrowest->mtu;
  const RE2 pattern(settings.uplinks, RE2::Quiet);
  if (pattern.ok()) {
    const auto uplinks =
        least(links, [&](const std::string& name) { return RE2::PartialMatch(name, pattern); });
    if (uplinks != 0) return uplinks;
  }
  const auto others = least(links, [&](const std::string& name) {
    return name != "lo" && !kernel::link_of_relay(name) &&
           std::ranges::none_of(settings.workload_prefixes,
                                [&](const std::string& prefix) { return name.starts_with(prefix); });
  });
  return others != 0 ? others : kEthernet;
}

}  // namespace ocicat::dataplane
