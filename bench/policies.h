// What a host between workloads a and b (bench/router.h) is to look like under so many rules: compiled by the
// engine, as the agent has it.
#pragma once

#include "bench/engine_feed.h"
#include "bench/router.h"

namespace ocicat::bench {

// Addresses that rules name: the first of them by one UDP port each.
IpAddress known_address(std::uint32_t number);
std::uint16_t known_port(std::uint32_t number);

// a may send anything to b, and to as many known addresses as there are rules, by one port each; b takes
// everything.
class PolicyStates {
 public:
  struct Options {
    std::uint32_t known = 0;  // endpoints on other hosts
    unsigned rules_a_policy = 1;
  };
  explicit PolicyStates(const Options& options);

  // From nothing. More rules than before.
  HostChanges with(unsigned rules);

 private:
  void flush_policy();
  void add(test::Item item);
  void flush();

  unsigned rules_a_policy_;
  Engine engine_{{.node = test::kShapeNode, .dictionary = {}}};
  ResourceChanges batch_;
  HostChanges all_;
  NetworkPolicy policy_;
  unsigned rules_ = 0;
};

}  // namespace ocicat::bench
