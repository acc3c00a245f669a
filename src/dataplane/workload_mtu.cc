#include "dataplane/workload_mtu.h"

#include <re2/re2.h>

#include <algorithm>
#include <functional>

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

std::uint32_t workload_mtu(const Links& links, const HostSettings& settings) {
  const auto& overlays = settings.overlays;
  const auto tunnels = least(links, [&](const std::string& name) {
    return (overlays.vxlan4 && name == vxlan_name(Family::kIpv4)) ||
           (overlays.vxlan6 && name == vxlan_name(Family::kIpv6)) || (overlays.ipip && name == kIpipName);
  });
  if (tunnels != 0) return tunnels;
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
