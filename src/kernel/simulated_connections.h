// Tracked connections in memory: for tests that need the kernel's failures. Known again by their place.
#pragma once

#include <optional>

#include "kernel/connections.h"

namespace ocicat::kernel {

class SimulatedConnections final : public ConnectionKernel {
 public:
  Result<void> list(const std::function<void(const Connection&)>& visit) override {
    if (error) return std::unexpected(*error);
    for (std::size_t i = 0; i < connections.size(); ++i) {
      auto one = connections[i];
      one.identity = {static_cast<std::uint8_t>(i)};
      visit(one);
    }
    return {};
  }
  Result<void> mark(const std::vector<Connection>& marked, std::uint32_t value, std::uint32_t mask) override {
    if (error) return std::unexpected(*error);
    for (const auto& one : marked) {
      auto& there = connections.at(one.identity.at(0));
      there.mark = (there.mark & ~mask) | (value & mask);
      ++changes;
    }
    return {};
  }

  std::vector<Connection> connections;  // at most 256
  std::optional<Error> error;           // what every call answers
  std::size_t changes = 0;
};

}  // namespace ocicat::kernel
