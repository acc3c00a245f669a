// The address of a tunnel's own interface.
#pragma once

#include <cstdint>
#include <optional>

#include "base/ip.h"
#include "base/result.h"
#include "kernel/tunnels.h"

namespace ocicat::dataplane {

// The link has this address then and no other; nothing: none. Each write is added to `writes`.
Result<void> settle_address(kernel::TunnelKernel& kernel, int link, const std::optional<IpAddress>& wanted,
                            std::uint64_t& writes);

}  // namespace ocicat::dataplane
