// A map in memory, for tests.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "kernel/bpf.h"

namespace ocicat::kernel::bpf {

// The bytes, as they stand in a key or a value.
inline std::string text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class SimulatedMap final : public ElementMap {
 public:
  Result<void> put(Bytes key, Bytes value) override;
  Result<void> remove(Bytes key) override;
  Result<void> for_each(const std::function<void(Bytes key, Bytes value)>& visit) override;

  std::map<std::string, std::string> elements;  // bytes
  // Calls that succeed before one fails; nothing: all do.
  std::optional<int> fails_after;

 private:
  Result<void> work();
};

}  // namespace ocicat::kernel::bpf
