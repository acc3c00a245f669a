// Versions of the Container Network Interface (CNI) that this plugin speaks.
//
//   source   containernetworking/cni, SPEC.md of each version
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace ocicat::cni {

// In ascending order, so that "since" is a comparison: CHECK since 0.4.0, STATUS and GC since 1.1.0.
enum class Version : std::uint8_t { k031, k040, k100, k110 };
inline constexpr std::array kVersions{Version::k031, Version::k040, Version::k100, Version::k110};

std::string_view to_string(Version version);  // "1.1.0"
std::optional<Version> parse_version(std::string_view text);

}  // namespace ocicat::cni
