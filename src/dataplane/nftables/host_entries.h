// Which interface has which host endpoint, and what decides there at each hook.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "dataplane/hosts/host_interfaces.h"
#include "dataplane/nftables/policy_delta.h"
#include "engine/host_state.h"

namespace ocicat::dataplane {

class HostEntries {
 public:
  // Takes over the changes, and adds the entries that come and go. `interfaces` may name host endpoints that
  // are no longer there; they count for nothing.
  void update(const HostChanges& changes, const HostInterfaces& interfaces, Transaction& step);
  void add_all(Entries& entries) const;
  bool empty() const { return endpoints_.empty(); }
  // Those that own sides are projected by.
  void add_vocabularies(std::set<policy::VocabularyId>& vocabularies) const;

 private:
  void add_endpoint(const ResourceKey& key, Entries& entries) const;
  void add_interfaces(Entries& entries) const;
  void add_chain(policy::ChainId id, Entries& entries) const;

  HostEndpoints endpoints_;
  HostInterfaces interfaces_;
  std::map<policy::ChainId, policy::Chain> chains_;
  std::map<policy::ChainKey, policy::ProgramId> programs_;
};

}  // namespace ocicat::dataplane
