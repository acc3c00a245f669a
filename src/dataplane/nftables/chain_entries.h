// Who is led to which chain: which interface has which host endpoint, and what decides there at each hook;
// and workloads, for what they send from addresses that are not their own.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "dataplane/hosts/host_interfaces.h"
#include "dataplane/nftables/policy_delta.h"
#include "engine/host_state.h"

namespace ocicat::dataplane {

class ChainEntries {
 public:
  // Takes over the changes, and adds the entries that come and go. `interfaces` may name host endpoints that
  // are no longer there; they count for nothing. Intervals of sources change beside the step: those that go
  // before it, those that come after it.
  void update(const HostChanges& changes, const HostInterfaces& interfaces, PolicyDelta& delta);
  void add_all(Entries& entries) const;
  // Whether there is anybody whose packets are judged by the classes of both their addresses.
  bool judge_two_classes() const { return !endpoints_.empty() || !senders_.empty(); }
  // Those that own sides are projected by.
  void add_vocabularies(std::set<policy::VocabularyId>& vocabularies) const;

 private:
  void add_endpoint(const ResourceKey& key, Entries& entries) const;
  void add_interfaces(Entries& entries) const;
  void add_chain(policy::ChainId id, Entries& entries) const;
  void add_source_chains(const std::string& interface_name, Entries& entries) const;
  std::vector<Prefix> sources_at(const std::string& interface_name) const;
  void take_sources(const Changes<ResourceKey, EndpointState>& changes);
  policy::VocabularyId vocabulary_of(policy::ChainId id) const;

  HostEndpoints endpoints_;
  HostInterfaces interfaces_;
  // Workloads that have sources; of several at one interface the first counts.
  std::map<std::string, std::map<ResourceKey, EndpointState>> senders_;
  std::map<ResourceKey, std::string> interface_by_sender_;
  std::map<policy::ChainId, policy::Chain> chains_;
  std::map<policy::ChainKey, policy::ProgramId> programs_;
};

}  // namespace ocicat::dataplane
