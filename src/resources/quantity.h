// A Kubernetes quantity: "10M", "1.5Gi", "2e3", "500m".
//
//   source   kubernetes.io, API reference, Quantity; apimachinery's Value(): rounded up to a whole number
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace ocicat {

// What is beyond 64 bits is the last that fits. Nothing: it is no quantity, or has more than 18 digits.
std::optional<std::int64_t> read_quantity(std::string_view text);

}  // namespace ocicat
