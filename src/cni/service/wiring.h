// What the kernel has of an attachment, beside what ADD made.
#pragma once

#include <optional>
#include <string>

#include "base/mac.h"
#include "cni/failure.h"
#include "cni/service/context.h"

namespace ocicat::cni {

// Code 104: something of an attachment is not as ADD left it.
std::unexpected<Failure> not_as_added(std::string what);

// Whether the pair of interfaces is there and up, and the container's has its addresses and routes, and this MAC if one
// is given. Code 3: the container's network namespace is gone; 104: what is not as ADD left it, and where to see it.
Outcome<void> check_wiring(const Context& context, const Attachment& attachment,
                           const std::string& namespace_path, const std::optional<MacAddress>& mac);

}  // namespace ocicat::cni
