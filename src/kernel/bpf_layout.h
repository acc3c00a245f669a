// How the elements of a map are laid out, as the map says itself: by the names of their members.
//
//   source   Documentation/bpf/btf.rst; libbpf's btf.h
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>

#include "base/result.h"

namespace ocicat::kernel::bpf {

struct Member {
  std::size_t offset = 0, size = 0;  // in bytes

  bool operator==(const Member&) const = default;
};

// Numbers and arrays of numbers by their names: "seen"; in a struct, "connection.seen"; in the second of an
// array of structs, "address.1.word". Bit fields are left out.
using Layout = std::map<std::string, Member>;

struct ElementLayout {
  Layout key, value;
};

// Nothing: the map does not say.
Result<std::optional<ElementLayout>> layout_of(int map);

}  // namespace ocicat::kernel::bpf
