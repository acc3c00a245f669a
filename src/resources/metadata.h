// What every object has: its name, and what labels say of it.
#pragma once

#include <boost/container/flat_map.hpp>

#include <string>

namespace ocicat {

using Labels = boost::container::flat_map<std::string, std::string>;

struct Metadata {
  std::string name;
  std::string ns;
  std::string uid;
  std::string resource_version;  // opaque outside the store
  Labels labels;

  bool operator==(const Metadata&) const = default;
};

}  // namespace ocicat
