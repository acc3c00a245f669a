// Tracked connections in memory: for tests that need the kernel's failures. Known again by their place.
#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <set>

#include "kernel/connections.h"

namespace ocicat::kernel {

class SimulatedConnections : public ConnectionKernel {
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

  Result<void> put(const std::vector<Connection>& some) override {
    if (error) return std::unexpected(*error);
    for (const auto& one : some) {
      const auto there = std::ranges::find_if(connections, [&](const Connection& other) {
        return other.source == one.source && other.destination == one.destination &&
               other.protocol == one.protocol && other.source_port == one.source_port &&
               other.destination_port == one.destination_port && other.icmp_id == one.icmp_id;
      });
      if (there == connections.end()) {
        connections.push_back(one);
      } else {
        const auto mark = there->mark | one.mark;
        *there = one;
        there->mark = mark;
      }
      ++changes;
    }
    return {};
  }
  Result<void> remove(const std::vector<Connection>& some) override {
    if (error) return std::unexpected(*error);
    std::set<std::size_t, std::greater<>> places;
    for (const auto& one : some) places.insert(one.identity.at(0));
    for (const auto place : places) {
      connections.erase(connections.begin() + static_cast<std::ptrdiff_t>(place));
      ++changes;
    }
    return {};
  }

  std::vector<Connection> connections;  // at most 256
  std::optional<Error> error;           // what every call answers
  std::size_t changes = 0;
};

}  // namespace ocicat::kernel
