#include "cni/version.h"

namespace ocicat::cni {

std::string_view to_string(Version version) {
  switch (version) {
    case Version::k031:
      return "0.3.1";
    case Version::k040:
      return "0.4.0";
    case Version::k100:
      return "1.0.0";
    case Version::k110:
      return "1.1.0";
  }
  return {};
}

std::optional<Version> parse_version(std::string_view text) {
  for (const auto version : kVersions) {
    if (to_string(version) == text) return version;
  }
  return std::nullopt;
}

}  // namespace ocicat::cni
