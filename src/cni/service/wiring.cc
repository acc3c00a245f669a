#include "cni/service/wiring.h"

#include <algorithm>
#include <utility>

namespace ocicat::cni {

std::unexpected<Failure> not_as_added(std::string what) {
  return refuse(FailureCode::kNotAsAdded, "the container's interface is not as ADD left it", std::move(what));
}

Outcome<void> check_wiring(const Context& context, const Attachment& attachment,
                           const std::string& namespace_path, const std::optional<MacAddress>& mac) {
  const auto looked = context.parts.links->look(pair_of(attachment, namespace_path), attachment.addresses);
  if (!looked && looked.error().code == ErrorCode::kNotFound) {
    return refuse(FailureCode::kUnknownContainer, "the container's network namespace is not there",
                  looked.error().message + "; has the container ended? See: ip netns");
  }
  if (!looked) return std::unexpected(failure_of(looked.error(), "the kernel cannot be asked"));
  if (!*looked) {
    return not_as_added(fmt::format("{} on the host or {} in the container is missing; see: ip link show {}",
                                    attachment.host_interface, attachment.ifname, attachment.host_interface));
  }
  const auto& state = **looked;
  if (!state.host_up || !state.up) {
    return not_as_added(fmt::format("{} is down; see: ip link show {}",
                                    state.host_up ? attachment.ifname : attachment.host_interface,
                                    attachment.host_interface));
  }
  if (mac && state.mac != *mac) {
    return not_as_added(
        fmt::format("{0} in the container has MAC {1}, and not {2}; see there: ip link show {0}",
                    attachment.ifname, state.mac.to_string(), mac->to_string()));
  }
  for (const auto& address : attachment.addresses) {
    if (std::ranges::find(state.addresses, address) == state.addresses.end())
      return not_as_added(
          fmt::format("{0} in the container does not have {1}; see there: ip address show {0}",
                      attachment.ifname, address.to_string()));
    if (!(address.is_v4() ? state.routes4 : state.routes6)) {
      return not_as_added(fmt::format(
          "the container has no IPv{0} {2} by {1}; see there: ip -{0} rule; ip -{0} route show table all",
          address.is_v4() ? 4 : 6, attachment.ifname,
          attachment.destinations.empty() ? "default route" : "route of those given"));
    }
  }
  return {};
}

}  // namespace ocicat::cni
