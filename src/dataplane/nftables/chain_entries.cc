#include "dataplane/nftables/chain_entries.h"

#include <set>

namespace ocicat::dataplane {
namespace {

// The addresses that are in both, each list disjoint.
std::vector<Prefix> common(const std::vector<Prefix>& some, const std::vector<Prefix>& others) {
  std::vector<Prefix> both;
  for (const auto& one : some) {
    for (const auto& other : others) {
      if (one.contains(other)) {
        both.push_back(other);
      } else if (other.contains(one)) {
        both.push_back(one);
      }
    }
  }
  return both;
}

Entries entries_of(const std::string& interface_name, const std::vector<Prefix>& sources) {
  Entries entries;
  for (const auto& source : sources) {
    if (auto entry = source_entry(interface_name, source)) entries.push_back(*entry);
  }
  return entries;
}

}  // namespace

policy::VocabularyId ChainEntries::vocabulary_of(policy::ChainId id) const {
  const auto chain = chains_.find(id);
  return chain == chains_.end() ? policy::VocabularyId{} : chain->second.vocabulary;
}

// A chain that its endpoint has and nobody knows leads nowhere: its packets are dropped.
void ChainEntries::add_endpoint(const ResourceKey& key, Entries& entries) const {
  const auto found = endpoints_.find(key);
  if (found == endpoints_.end()) return;
  const auto& endpoint = found->second;
  for (const auto family : kFamilies) {
    for (const auto hook : policy::kHooks) {
      const auto id = endpoint.chain(family, hook);
      if (id == policy::ChainId{}) continue;
      entries.push_back(host_chain_entry(endpoint.id, family, hook, id, vocabulary_of(id)));
    }
  }
}

void ChainEntries::add_interfaces(Entries& entries) const {
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

void ChainEntries::add_chain(policy::ChainId id, Entries& entries) const {
  const auto chain = chains_.find(id);
  if (chain == chains_.end()) return;
  entries.push_back(chain_program_entry({id, policy::ProjectionId{}}, chain->second.base));
}

void ChainEntries::add_vocabularies(std::set<policy::VocabularyId>& vocabularies) const {
  for (const auto& [id, chain] : chains_) vocabularies.insert(chain.vocabulary);
}

void ChainEntries::add_source_chains(const std::string& interface_name, Entries& entries) const {
  const auto found = senders_.find(interface_name);
  if (found == senders_.end()) return;
  const auto& sender = found->second.begin()->second;
  for (const auto family : kFamilies) {
    const auto id = sender.source_chain(family);
    if (id == policy::ChainId{}) continue;
    if (auto entry = source_chain_entry(interface_name, family, id, vocabulary_of(id)))
      entries.push_back(*entry);
  }
}

std::vector<Prefix> ChainEntries::sources_at(const std::string& interface_name) const {
  const auto found = senders_.find(interface_name);
  return found == senders_.end() ? std::vector<Prefix>{} : found->second.begin()->second.sources;
}

void ChainEntries::take_sources(const Changes<ResourceKey, EndpointState>& changes) {
  for (const auto& [key, after] : changes.entries()) {
    if (const auto before = interface_by_sender_.find(key); before != interface_by_sender_.end()) {
      const auto at = senders_.find(before->second);
      at->second.erase(key);
      if (at->second.empty()) senders_.erase(at);
      interface_by_sender_.erase(before);
    }
    if (!after || after->sources.empty()) continue;
    senders_[after->interface_name].insert_or_assign(key, *after);
    interface_by_sender_.insert_or_assign(key, after->interface_name);
  }
}

void ChainEntries::update(const HostChanges& changes, const HostInterfaces& interfaces, PolicyDelta& delta) {
  const auto& chains = changes.tables.chains;
  const auto& programs = changes.tables.chain_programs;
  std::map<std::string, std::vector<Prefix>> sources;  // before, of interfaces whose senders change
  for (const auto& [key, after] : changes.endpoints.entries()) {
    const auto before = interface_by_sender_.find(key);
    if (before != interface_by_sender_.end()) sources.emplace(before->second, sources_at(before->second));
    if (after && !after->sources.empty())
      sources.emplace(after->interface_name, sources_at(after->interface_name));
  }
  const bool same_interfaces = interfaces == interfaces_;
  if (changes.host_endpoints.empty() && chains.empty() && programs.empty() && sources.empty() &&
      same_interfaces)
    return;
  // Whoever has a chain that changes leads to it, and so does whoever is changed himself.
  std::set<ResourceKey> touched;
  std::set<std::string> senders;
  for (const auto& [key, unused] : changes.host_endpoints.entries()) touched.insert(key);
  for (const auto& [name, unused] : sources) senders.insert(name);
  if (!chains.empty()) {
    for (const auto& [key, unused] : endpoints_) touched.insert(key);
    for (const auto& [name, unused] : senders_) senders.insert(name);
  }
  const auto add_touched = [&](Entries& entries) {
    for (const auto& key : touched) add_endpoint(key, entries);
    for (const auto& name : senders) add_source_chains(name, entries);
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
  take_sources(changes.endpoints);
  chains.apply_to(chains_);
  programs.apply_to(programs_);
  interfaces_ = interfaces;
  add_touched(after);
  add_difference(std::move(before), std::move(after), delta.step);
  for (const auto& [name, were] : sources) {
    const auto are = sources_at(name);
    const auto stay = entries_of(name, common(were, are));
    add_difference(entries_of(name, were), stay, delta.prepared);
    add_difference(stay, entries_of(name, are), delta.settled);
  }
}

void ChainEntries::add_all(Entries& entries) const {
  for (const auto& [key, unused] : endpoints_) add_endpoint(key, entries);
  for (const auto& [name, unused] : senders_) {
    add_source_chains(name, entries);
    for (const auto& entry : entries_of(name, sources_at(name))) entries.push_back(entry);
  }
  for (const auto& [id, unused] : chains_) add_chain(id, entries);
  for (const auto& [key, program] : programs_) entries.push_back(chain_program_entry(key, program));
  add_interfaces(entries);
}

}  // namespace ocicat::dataplane
