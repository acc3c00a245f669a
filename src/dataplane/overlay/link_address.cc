#include "dataplane/overlay/link_address.h"

namespace ocicat::dataplane {

Result<void> settle_address(kernel::TunnelKernel& kernel, int link, const std::optional<IpAddress>& wanted,
                            std::uint64_t& writes) {
  TRY(const auto own, kernel.addresses(link));
  if (wanted && !own.contains(*wanted)) {
    TRY_VOID(kernel.add_address(link, *wanted));
    ++writes;
  }
  for (const auto& address : own) {
    if (address == wanted) continue;
    TRY_VOID(kernel.remove_address(link, address));
    ++writes;
  }
  return {};
}

}  // namespace ocicat::dataplane
