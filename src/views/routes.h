// The ways of one host to the workloads of all: as its agent makes them, for whom, and how its kernel has
// them.
#pragma once

#include <boost/json/array.hpp>

#include <optional>
#include <string>
#include <vector>

#include "network/route_resolver.h"
#include "policy/evaluator.h"

namespace ocicat::views {

// A route as the kernel has it, written by us or by BIRD.
struct KernelWay {
  Prefix destination;
  std::string interface_name;
  std::optional<IpAddress> gateway;
  bool by_bird = false;
  bool nowhere = false;  // a blackhole
  bool several = false;  // by several gateways (ECMP), which are not told
};

struct RouteLine {
  // missing: wanted, and not there; other: there, and leads elsewhere; stray: there, and nobody wants it;
  // waiting: there is no way yet, for a reason, and where it is to be a tunnel packets are dropped meanwhile;
  // unknown: the kernel was not looked at
  enum class State : std::uint8_t { kUnknown, kReady, kMissing, kOther, kStray, kWaiting };
  Prefix destination;
  std::optional<network::Way> way;     // as wanted
  std::vector<std::string> workloads;  // who has addresses there, as Inventory names them
  std::string node;                    // where
  std::optional<KernelWay> there;      // as the kernel has it; BIRD's may be for a wider prefix
  std::string reason;                  // of one that waits
  State state = State::kUnknown;
};
std::string_view to_string(RouteLine::State state);  // "", "ready", "missing", …

// By destination: blocks, and addresses of workloads that are in none or elsewhere than theirs. kNotFound:
// there is no such Node.
Result<std::vector<RouteLine>> wanted_routes(const policy::Snapshot& snapshot, const std::string& node);
// What the kernel makes of it.
void compare(std::vector<RouteLine>& lines, const std::vector<KernelWay>& kernel);

std::string to_text(const std::vector<RouteLine>& lines);
// "destination", "via", "interface", "tunnel", "workloads", "node", "state", "reason"; what is not there is
// left out.
boost::json::array to_json(const std::vector<RouteLine>& lines);

}  // namespace ocicat::views
