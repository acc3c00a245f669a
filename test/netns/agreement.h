// All who say what policy means, put to the same question: the evaluator, the decision tables in memory, and both
// datapaths in real kernels. What policies and packets there are is the tests' choice.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "dataplane/hosts/host_interfaces.h"
#include "engine/engine.h"
#include "netns/conversation.h"
#include "netns/policy_of_host.h"
#include "policy/evaluator.h"
#include "policy/simulator.h"
#include "test/support/boundary_packets.h"
#include "test/support/random.h"

namespace ocicat::test {

// Who sends first packets to whom; outside is everybody else.
struct Way {
  Place from, to;
};
std::string_view name_of(Place place);
Addresses addresses_of(Place place);

// Which parts of a packet may pass, or have arrived (parts_of()).
struct Answers {
  unsigned evaluator = 0, tables = 0, nftables = 0, ebpf = 0;
  Shape shape = Shape::kWhole;
  bool counts = true;            // whether they have to agree
  bool ebpf_may_refuse = false;  // whatever the others say
  std::string said;              // by the evaluator, on the way, where they do not

  bool agree() const;
};

// A host with workloads a and b that one of the datapaths serves.
class ServedHost {
 public:
  explicit ServedHost(dataplane::Datapath datapath);

  std::set<std::uint32_t> arriving(const Phase& phase);

 private:
  friend class Four;
  Station& station(Place place);

  Testbed bed_;
  Station& a_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2");
  Station& b_ = bed_.add_pod("b", "10.65.0.3", "fd00:65::3");
  PolicyOfHost policy_;
};

// All four, at one state of policy.
class Four {
 public:
  // How often the evaluator has said what, in words.
  using Census = std::map<std::string, std::size_t>;

  // Without any resources, so that what follows depends on nothing that was before.
  void begin();
  // `drops_invalid`: what connection tracking calls invalid is dropped, rather than judged by itself.
  void become(const policy::Snapshot& snapshot, bool drops_invalid);
  // Of all that is said, in order.
  std::vector<Answers> ask(const std::vector<Phase>& phases, Census* census = nullptr);

 private:
  // What one of them says at an endpoint.
  using Says = std::function<policy::Verdict(const ResourceKey&, policy::Hook, const policy::Packet&)>;

  // Which host endpoint has the interface by which it comes in, and the one by which it leaves.
  std::optional<ResourceKey> comes_by(Way way) const;
  std::optional<ResourceKey> leaves_by(Way way) const;
  std::optional<ResourceKey> holder_of(const std::string& interface) const;
  const ResourceKey& workload(Place place) const;
  bool may_pass(Way way, const policy::Packet& packet, const Says& says) const;
  policy::Verdict untracked(Way way, const policy::Packet& packet, const Says& says) const;
  bool passes(Memory& memory, Way way, const Said& said, const Says& says) const;
  policy::Verdict look_up(const policy::Simulator& simulator, const ResourceKey& key, policy::Hook hook,
                          const policy::Packet& packet) const;

  ServedHost nftables_{dataplane::Datapath::kNftables}, ebpf_{dataplane::Datapath::kEbpf};
  Engine engine_{{.node = "host1", .dictionary = {}}};
  policy::Snapshot snapshot_;
  HostState state_;
  dataplane::HostInterfaces interfaces_;
  bool drops_invalid_ = true;
};

// What concerns workloads. Two of them are a and b here, with labels, ports and profiles as they came; all
// others are elsewhere.
policy::Snapshot snapshot_for_two(Random& random, std::size_t policies);

// Whether both kernels carry such a packet as it is, between one of these and somebody outside.
bool can_be_sent(const policy::Packet& packet, const IpAddress& own);

// What they do not agree about, the first of it.
struct Disagreement {
  std::string text;
  RawPacket first;  // by which it began
};
std::optional<Disagreement> first_disagreement(const std::vector<Phase>& phases,
                                               const std::vector<Answers>& answers);

// The fewest resources, beside those that are of this host, at which they still do not agree about what
// follows the packet. `phases` of that one.
std::string smallest_case(Four& four, const policy::Snapshot& snapshot, bool drops_invalid,
                          const std::vector<Phase>& phases);

}  // namespace ocicat::test
