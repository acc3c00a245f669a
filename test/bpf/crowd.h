// Connections that all have the same eight places: with nine of them one has to give way, without a table that is
// full.
#pragma once

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "bpf/frames.h"
#include "dataplane/ebpf/address_image.h"
#include "dataplane/ebpf/handover.h"
#include "netns/agent_host.h"

namespace ocicat::test {

// A connection of UDP, by who begins it and with whom.
struct Flow {
  std::string source, destination;
  std::uint16_t source_port = 0, destination_port = 0;

  Bytes request() const { return packet(source, destination, udp(source_port, destination_port)); }
  Bytes answer() const { return packet(destination, source, udp(destination_port, source_port)); }

 private:
  static Bytes packet(std::string_view from, std::string_view to, const Bytes& payload) {
    return from.contains(':') ? ipv6({.source = from, .destination = to}, payload)
                              : ipv4({.source = from, .destination = to}, payload);
  }
};

class Crowd {
 public:
  // Of connections as host endpoints have judged them, or as workloads have.
  Crowd(const PinFolder& pins, bool at_host)
      : at_host_(at_host), all_(pins.connections()), host_(pins.host_values()) {
    CHECK(all_ && host_);
  }

  // Each one with other ports. O(2^19).
  Flow between(const std::string& source, const std::string& destination) {
    Flow flow{source, destination, 1, 2};
    // The key is made once, and has other ports then: half a million keys for a flow.
    auto key = key_of(flow);
    const int from = key.port[0] == htons(flow.source_port) ? 0 : 1;
    std::uint32_t places = 0;
    do {
      ++ports_;
      flow.source_port = static_cast<std::uint16_t>(1024 + ports_ % 60'000);
      flow.destination_port = static_cast<std::uint16_t>(1024 + ports_ / 60'000);
      key.port[from] = htons(flow.source_port);
      key.port[1 - from] = htons(flow.destination_port);
      places = places_of(key);
      if (!places_) places_ = places;
    } while (places != *places_);
    return flow;
  }

  bool knows(const Flow& flow) const {
    const auto key = key_of(flow);
    for (std::uint32_t i = 0; i < bpf::CONNECTION_WAYS; ++i) {
      const auto& there = all_->as<bpf::tracked>()[bpf::place_in(places_of(key), i)];
      if (there.version != 0 && std::memcmp(&there.key, &key, sizeof key) == 0) return true;
    }
    return false;
  }
  auto count_known(const std::vector<Flow>& flows) const {
    return std::ranges::count_if(flows, [&](const auto& flow) { return knows(flow); });
  }

 private:
  bpf::connection_key key_of(const Flow& flow) const {
    const kernel::Connection connection{.source = *IpAddress::parse(flow.source),
                                        .destination = *IpAddress::parse(flow.destination),
                                        .protocol = 17,
                                        .source_port = flow.source_port,
                                        .destination_port = flow.destination_port};
    const dataplane::ebpf::LocalEnds nobody{.slot = [](const auto&) { return 0U; },
                                            .is_host = [](const auto&) { return false; }};
    auto key = noted_at_host(connection, nobody, {}).key;
    key.at_host = at_host_;
    return key;
  }
  std::uint32_t places_of(const bpf::connection_key& key) const {
    return bpf::places_of(&key, &host_->as<bpf::host>().front().secret);
  }

  bool at_host_;
  std::uint32_t ports_ = 0;
  std::optional<std::uint32_t> places_;
  std::optional<kernel::bpf::MappedArray> all_, host_;
};

}  // namespace ocicat::test
