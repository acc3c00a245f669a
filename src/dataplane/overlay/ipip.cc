#include "dataplane/overlay/ipip.h"

#include <algorithm>

#include "dataplane/overlay/link_address.h"

namespace ocicat::dataplane {

void Ipip::want(const std::optional<IpipDevice>& device) {
  if (device == device_) return;
  device_ = device;
  known_ = false;
}

Result<void> Ipip::settle() {
  TRY(auto link, kernel_.ipip(kIpipName));
  if (!link) {
    TRY_VOID(write_link(kernel_.create_ipip(kIpipName)));
    TRY(link, kernel_.ipip(kIpipName));
    if (!link) return fail(ErrorCode::kUnavailable, "the IPIP interface {} went away", kIpipName);
  }
  TRY(const auto parent, kernel_.parent(device_->host));
  const auto mtu = device_->mtu != 0 ? device_->mtu : parent.mtu - std::min(parent.mtu, kIpipOverhead);
  const bool of_others = link->up && !link->ours;
  if (!link->up || link->mtu != mtu) {
    TRY_VOID(write_link(of_others ? kernel_.raise(link->index, mtu) : kernel_.raise_ipip(link->index, mtu)));
  }
  return of_others ? Result<void>() : settle_address(kernel_, link->index, device_->address, link_writes_);
}

Result<void> Ipip::sync() {
  if (known_ || !device_) return {};
  TRY_VOID(settle());
  known_ = true;
  return {};
}

Result<void> Ipip::retire() {
  if (known_ || device_) return {};
  TRY(const auto link, kernel_.ipip(kIpipName));
  if (link && link->ours) {
    TRY_VOID(settle_address(kernel_, link->index, std::nullopt, link_writes_));
    TRY_VOID(write_link(kernel_.lower_ipip(link->index)));
  }
  known_ = true;
  return {};
}

}  // namespace ocicat::dataplane
