#include "dataplane/nftables/host_entries.h"

#include <set>

namespace ocicat::dataplane {

// A chain that its endpoint has and nobody knows leads nowhere: its packets are dropped.
void HostEntries::add_endpoint(const ResourceKey& key, Entries& entries) const {
  const auto found = endpoints_.find(key);
  if (found == endpoints_.end()) return;
  const auto& endpoint = found->second;
  for (const auto family : kFamilies) {
    for (const auto hook : policy::kHooks) {
      const auto id = endpoint.chain(family, hook);
      if (id == policy::ChainId{}) continue;
      const auto chain = chains_.find(id);
      entries.push_back(
          host_chain_entry(endpoint.id, family, hook, id,
                           chain == chains_.end() ? policy::VocabularyId{} : chain->second.vocabulary));
    }
  }
}

void HostEntries::add_interfaces(Entries& entries) const {
  const auto add = [&](std::string_view name, const ResourceKey& key) {
    const auto endpoint = endpoints_.find(key);
    if (endpoint == endpoints_.end()) return;
    if (auto entry = host_interface_entry(name, endpoint->second.id)) entries.push_back(*entry);
  };
  for (const auto& [name, key] : interfaces_.by_name) add(name, key);
  const auto everywhere =
      interfaces_.all_others ? endpoints_.find(*interfaces_.all_others) : endpoints_.end();
  entries.push_back(*host_interface_entry({}, everywhere == endpoints_.end() ? 0 : everywhere->second.id));
}

void HostEntries::add_chain(policy::ChainId id, Entries& entries) const {
  const auto chain = chains_.find(id);
  if (chain == chains_.end()) return;
  entries.push_back(chain_program_entry({id, policy::ProjectionId{}}, chain->second.base));
}

void HostEntries::add_vocabularies(std::set<policy::VocabularyId>& vocabularies) const {
  for (const auto& [id, chain] : chains_) vocabularies.insert(chain.vocabulary);
}

void HostEntries::update(const HostChanges& changes, const HostInterfaces& interfaces, Transaction& step) {
  const auto& chains = changes.tables.chains;
  const auto& programs = changes.tables.chain_programs;
  const bool same_interfaces = interfaces == interfaces_;
  if (changes.host_endpoints.empty() && chains.empty() && programs.empty() && same_interfaces) return;
  // Whoever has a chain that changes leads to it, and so does whoever is changed himself.
  std::set<ResourceKey> touched;
  for (const auto& [key, unused] : changes.host_endpoints.entries()) touched.insert(key);
  if (!chains.empty()) {
    for (const auto& [key, unused] : endpoints_) touched.insert(key);
  }
  const auto add_touched = [&](Entries& entries) {
    for (const auto& key : touched) add_endpoint(key, entries);
    for (const auto& [id, unused] : chains.entries()) add_chain(id, entries);
    for (const auto& [key, unused] : programs.entries()) {
      if (const auto found = programs_.find(key); found != programs_.end())
        entries.push_back(chain_program_entry(key, found->second));
    }
    add_interfaces(entries);
  };
  Entries before, after;
  add_touched(before);
  changes.host_endpoints.apply_to(endpoints_);
  chains.apply_to(chains_);
  programs.apply_to(programs_);
  interfaces_ = interfaces;
  add_touched(after);
  add_difference(std::move(before), std::move(after), step);
}

void HostEntries::add_all(Entries& entries) const {
  for (const auto& [key, unused] : endpoints_) add_endpoint(key, entries);
  for (const auto& [id, unused] : chains_) add_chain(id, entries);
  for (const auto& [key, program] : programs_) entries.push_back(chain_program_entry(key, program));
  add_interfaces(entries);
}

}  // namespace ocicat::dataplane
