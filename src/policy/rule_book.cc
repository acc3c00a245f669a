#include "policy/rule_book.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "base/result.h"

namespace ocicat::policy {

namespace {

template <class T>
void sort_unique(std::vector<T>& items) {
  std::ranges::sort(items);
  items.erase(std::ranges::unique(items).begin(), items.end());
}

// What a match says as numbers, so that matches which say the same are found by comparing them.
class Words {
 public:
  void add(std::uint32_t word) { words_.push_back(word); }
  template <class T>
  void add_list(const std::vector<T>& items) {
    add(static_cast<std::uint32_t>(items.size()));
    for (const auto& item : items) {
      if constexpr (std::is_same_v<T, PortRange>) {
        add(std::uint32_t{item.first} << 16 | item.last);
      } else {
        add(item);
      }
    }
  }
  void add(const std::optional<std::uint8_t>& number) { add(number ? *number : 0x100U); }
  void add(const std::optional<IcmpMatch>& icmp) {
    add(icmp ? icmp->type : std::nullopt);
    add(icmp ? icmp->code : std::nullopt);
    add(icmp ? 1U : 0U);
  }
  void add(const SideMatch& side) {
    add_list(side.in);
    add_list(side.not_in);
    add_list(side.ports);
    add_list(side.named_ports);
    add_list(side.not_ports);
    add_list(side.not_named_ports);
    add_list(side.service_ports);
  }
  void add(const RuleMatch& match) {
    add((match.ipv4 ? 1U : 0U) | (match.ipv6 ? 2U : 0U));
    add(match.protocol);
    add(match.not_protocol);
    add(match.icmp);
    add(match.not_icmp);
    add(match.source);
    add(match.destination);
  }
  const std::vector<std::uint32_t>& get() const { return words_; }

 private:
  std::vector<std::uint32_t> words_;
};

}  // namespace

template <class Visit>
void RuleBook::for_each_atom(const RuleMatch& match, Visit visit) {
  for (const auto* side : {&match.source, &match.destination}) {
    for (const auto* atoms :
         {&side->in, &side->not_in, &side->named_ports, &side->not_named_ports, &side->service_ports}) {
      for (const auto atom : *atoms) visit(atom);
    }
  }
}

// The match in names: an atom is its digest.
Digest RuleBook::meaning_of(const RuleMatch& match) const {
  std::string text;
  for_each_atom(match, [&](AtomId atom) { text += atoms_[atom].digest.to_hex(); });
  auto nameless = match;
  for (auto* side : {&nameless.source, &nameless.destination}) {
    for (auto* atoms :
         {&side->in, &side->not_in, &side->named_ports, &side->not_named_ports, &side->service_ports}) {
      std::ranges::fill(*atoms, 0);
    }
  }
  Words shape;
  shape.add(nameless);
  for (const auto word : shape.get()) text += fmt::format(",{}", word);
  return Digest::of(text);
}

AtomId RuleBook::acquire_atom(Atom atom, std::string meaning) {
  const auto [it, is_new] = atom_by_meaning_.emplace(std::move(meaning), 0);
  if (is_new) {
    if (free_atoms_.empty()) {
      it->second = static_cast<AtomId>(atoms_.size());
      atoms_.emplace_back();
    } else {
      it->second = free_atoms_.back();
      free_atoms_.pop_back();
    }
    atom.meaning = it->first;
    atom.digest = Digest::of(atom.meaning);
    atoms_[it->second] = std::move(atom);
  }
  ++atoms_[it->second].users;
  return it->second;
}

void RuleBook::release_atom(AtomId id) {
  CHECK(atoms_[id].users > 0);
  if (--atoms_[id].users == 0) touched_.push_back(id);
}

SideMatch RuleBook::side_of(const EntityMatch& entity, Protocol port_protocol, bool is_source) {
  SideMatch side;
  const auto selector_set = [&](const Selector& selector) {
    return acquire_atom({.type = Atom::Type::kSelector, .selector = selector},
                        "selector|" + selector.canonical());
  };
  const auto nets_set = [&](std::vector<Prefix> nets) {
    sort_unique(nets);
    std::string meaning = "nets";
    for (const auto& net : nets) meaning += "|" + net.to_string();
    return acquire_atom({.type = Atom::Type::kNets, .nets = std::move(nets)}, meaning);
  };
  const auto port_set = [&](const std::string& name) {
    return acquire_atom({.type = Atom::Type::kNamedPort,
                         .selector = entity.selector,
                         .port_name = name,
                         .protocol = port_protocol},
                        fmt::format("port|{}|{}|{}", name, port_protocol,
                                    entity.selector ? "|" + entity.selector->canonical() : ""));
  };
  const auto service_set = [&](const ServiceMatch& service) {
    const auto type = is_source ? Atom::Type::kService : Atom::Type::kServicePorts;
    return acquire_atom(
        {.type = type, .service = service},
        fmt::format("{}|{}|{}", is_source ? "service" : "service ports", service.ns, service.name));
  };
  // Sets of named ports are restricted by the selector already; where nothing but named ports is asked for,
  // they stand for it.
  const bool subsumed = !entity.named_ports.empty() && entity.ports.empty();
  if (entity.selector && !subsumed) side.in.push_back(selector_set(*entity.selector));
  if (entity.not_in_selector) side.not_in.push_back(selector_set(*entity.not_in_selector));
  if (!entity.nets.empty()) side.in.push_back(nets_set(entity.nets));
  if (!entity.not_nets.empty()) side.not_in.push_back(nets_set(entity.not_nets));
  for (const auto& name : entity.named_ports) side.named_ports.push_back(port_set(name));
  for (const auto& name : entity.not_named_ports) side.not_named_ports.push_back(port_set(name));
  if (entity.services) {
    (is_source ? side.in : side.service_ports).push_back(service_set(*entity.services));
  }
  side.ports = entity.ports;
  side.not_ports = entity.not_ports;
  return side;
}

MatchId RuleBook::acquire(const MatchRule& rule) {
  RuleMatch match{.ipv4 = rule.ipv4,
                  .ipv6 = rule.ipv6,
                  .protocol = rule.protocol,
                  .not_protocol = rule.not_protocol,
                  .icmp = rule.icmp,
                  .not_icmp = rule.not_icmp,
                  .port_protocol = named_port_protocol(rule)};
  match.source = side_of(rule.source, match.port_protocol, true);
  match.destination = side_of(rule.destination, match.port_protocol, false);
  Words words;
  words.add(match);
  const auto [id, is_new] = words_.acquire(words.get());
  if (!is_new) {
    for_each_atom(match, [this](AtomId atom) { release_atom(atom); });
    return id;
  }
  match.digest = meaning_of(match);
  if (matches_.size() <= id) matches_.resize(id + 1);
  matches_[id] = std::move(match);
  return id;
}

void RuleBook::release(MatchId id) {
  if (!words_.release(id)) return;
  CHECK(matches_[id].active == 0);
  for_each_atom(matches_[id], [this](AtomId atom) { release_atom(atom); });
  matches_[id] = {};
}

void RuleBook::activate(MatchId id) {
  if (++matches_[id].active > 1) return;
  for_each_atom(matches_[id], [this](AtomId atom) {
    if (++atoms_[atom].active == 1) touched_.push_back(atom);
  });
}

void RuleBook::deactivate(MatchId id) {
  CHECK(matches_[id].active > 0);
  if (--matches_[id].active > 0) return;
  for_each_atom(matches_[id], [this](AtomId atom) {
    if (--atoms_[atom].active == 0) touched_.push_back(atom);
  });
}

std::vector<AtomId> RuleBook::take_touched() {
  auto touched = std::exchange(touched_, {});
  sort_unique(touched);
  for (const auto id : unused_) {
    if (atoms_[id].users > 0 || std::ranges::binary_search(touched, id)) continue;
    atom_by_meaning_.erase(atoms_[id].meaning);
    atoms_[id] = {};
    free_atoms_.push_back(id);
  }
  unused_.clear();
  for (const auto id : touched) {
    if (atoms_[id].users == 0) unused_.push_back(id);
  }
  return touched;
}

}  // namespace ocicat::policy
