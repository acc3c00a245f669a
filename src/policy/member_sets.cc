// MemberIndex::update(): from active atoms to looks, kin and sets.
#include <algorithm>
#include <array>
#include <utility>

#include "base/result.h"
#include "policy/member_index.h"

namespace ocicat::policy {

namespace {

std::uint64_t port_key(StringPool::Id name, Protocol protocol) {
  return std::uint64_t{name} << 8 | protocol;
}

}  // namespace

std::span<const MemberIndex::PortSet> MemberIndex::ports_of(AtomId atom) const {
  if (atom >= atoms_.size()) return {};
  return atoms_[atom].ports;
}

// --- atoms ---

void MemberIndex::watch_labels(const Selector& selector, bool watch) {
  for (const auto& name : selector.label_names()) {
    if (watch) {
      const auto id = strings_.acquire(name);
      if (watched_.size() <= id) watched_.resize(id + 1);
      watched_changed_ |= ++watched_[id] == 1;
    } else {
      const auto id = strings_.find(name);
      watched_changed_ |= --watched_[id] == 0;
      strings_.release(id);
    }
  }
}

void MemberIndex::deactivate(AtomId id) {
  auto& state = atoms_[id];
  if (state.service) {
    services_.deactivate(id);
    state = {};
    return;
  }
  for (const auto& net : state.nets) addresses_.detach_nets(net, state.set);
  if (state.port_name != 0) {
    const auto it = atoms_by_port_.find(port_key(state.port_name, state.protocol));
    std::erase(it->second, id);
    if (it->second.empty()) atoms_by_port_.erase(it);
    strings_.release(state.port_name);
  }
  if (state.selector != 0) {
    if (state.set != 0) set_by_selector_[state.selector] = 0;
    const auto selector = selectors_[state.selector];
    if (selectors_.remove(state.selector)) {
      gone_selectors_.push_back(state.selector);
      watch_labels(selector, false);
    }
  }
  sets_changed_ = sets_changed_ || state.nets.empty();
  if (state.set != 0) sets_.destroy(state.set);
  auto ports = std::move(state.ports);
  state = {};
  state.ports = std::move(ports);  // until the kin that are in their sets are settled
}

void MemberIndex::activate(AtomId id, const Atom& atom) {
  auto& state = atoms_[id];
  state.active = true;
  state.digest = atom.digest;
  if (atom.selector) {
    const auto [selector, is_new] = selectors_.add(*atom.selector);
    state.selector = selector;
    if (is_new) {
      new_selectors_.push_back(selector);
      watch_labels(*atom.selector, true);
    }
  }
  if (atom.type == Atom::Type::kService || atom.type == Atom::Type::kServicePorts) {
    services_.activate(id, atom);
    state.set = services_.set_of(id);
    state.service = true;
    return;
  }
  sets_changed_ = sets_changed_ || atom.type != Atom::Type::kNets;
  switch (atom.type) {
    case Atom::Type::kSelector:
      state.set = sets_.create(atom.digest);
      if (set_by_selector_.size() <= state.selector) set_by_selector_.resize(selectors_.bound());
      set_by_selector_[state.selector] = state.set;
      break;
    case Atom::Type::kNets:
      state.set = sets_.create(atom.digest);
      state.nets = atom.nets;
      for (const auto& net : state.nets) addresses_.attach_nets(net, state.set);
      break;
    case Atom::Type::kNamedPort:
      state.port_name = strings_.acquire(atom.port_name);
      state.protocol = atom.protocol;
      atoms_by_port_[port_key(state.port_name, state.protocol)].push_back(id);
      changed_ports_.push_back(id);
      break;
    case Atom::Type::kService:
    case Atom::Type::kServicePorts:
      break;  // above
  }
}

// --- looks ---

// The words of a member's look go behind others; its values are in use.
void MemberIndex::add_look(const Entry& member, std::vector<std::uint32_t>& words) {
  const auto begin = words.size();
  const auto add = [&](SequencePool::Id list) {
    const auto before = words.size();
    for_each_label(labels_[list], [&](const ListedLabel& label) {
      if (label.name >= watched_.size() || watched_[label.name] == 0) return;
      bool known = false;  // the first to have a label wins
      for (auto i = begin; i < before; i += 2) known = known || words[i] == label.name;
      if (known) return;
      words.push_back(label.name);
      words.push_back(strings_.acquire(label.value));
    });
  };
  add(member.labels);
  for (const auto profile : profiles_[member.profiles]) {
    if (const auto it = labels_by_profile_.find(profile); it != labels_by_profile_.end()) add(it->second);
  }
  sort_pairs(words, begin);
}

SequencePool::Id MemberIndex::acquire_look(std::span<const std::uint32_t> words) {
  const auto [look, is_new] = looks_.acquire(words);
  if (!is_new) {
    for (std::size_t i = 1; i < words.size(); i += 2) strings_.release(words[i]);
  } else {
    for (std::size_t i = 0; i < words.size(); i += 2) strings_.retain(words[i]);
    if (selected_by_look_.size() <= look) selected_by_look_.resize(look + 1);
    view_look(looks_[look], view_);
    selectors_.match(view_, matched_);
    selected_by_look_[look] = selected_.acquire(matched_).id;
  }
  return look;
}

void MemberIndex::release_look(SequencePool::Id look) {
  if (look != 0 && looks_.users(look) == 1) {
    for (const auto word : looks_[look]) strings_.release(word);
    selected_.release(std::exchange(selected_by_look_[look], 0));
  }
  looks_.release(look);
}

void MemberIndex::view_look(std::span<const std::uint32_t> look, LabelView& view) const {
  view.clear();
  for (std::size_t i = 0; i < look.size(); i += 2) view.add(strings_[look[i]], strings_[look[i + 1]]);
}

// Puts selectors that came or went to every look there is. The look without labels is always there.
void MemberIndex::ask_looks() {
  if (new_selectors_.empty() && gone_selectors_.empty()) return;
  std::ranges::sort(gone_selectors_);
  LabelView view;
  for (SequencePool::Id look = 0; look < selected_by_look_.size(); ++look) {
    if (!looks_.contains(look)) continue;
    matched_.clear();
    if (!new_selectors_.empty()) view_look(looks_[look], view);
    for (const auto id : new_selectors_) {
      if (selectors_[id].matches(view)) matched_.push_back(id);
    }
    if (matched_.empty() && gone_selectors_.empty()) continue;
    auto& selected = selected_by_look_[look];
    selected_.for_each(selected, [&](SelectorIndex::Id id) {
      if (!std::ranges::binary_search(gone_selectors_, id)) matched_.push_back(id);
    });
    std::ranges::sort(matched_);
    selected_.release(std::exchange(selected, selected_.acquire(matched_).id));
  }
}

// --- kin ---

SetId MemberIndex::port_set(AtomId atom, std::uint16_t port) {
  auto& state = atoms_[atom];
  const auto at = std::ranges::lower_bound(state.ports, port, {}, &PortSet::port);
  if (at != state.ports.end() && at->port == port) return at->set;
  const auto set = sets_.create(Digest::of(fmt::format("{}|{}", state.digest.to_hex(), port)));
  state.ports.insert(at, {port, set, 0});
  port_by_set_.emplace(set, std::pair{atom, port});
  changed_ports_.push_back(atom);
  return set;
}

void MemberIndex::count_port_sets(SignatureId sets, bool more) {
  if (port_by_set_.empty()) return;
  sets_.signatures.for_each(sets, [&](SetId set) {
    const auto it = port_by_set_.find(set);
    if (it == port_by_set_.end()) return;
    const auto [atom, port] = it->second;
    auto& ports = atoms_[atom].ports;
    const auto at = std::ranges::lower_bound(ports, port, {}, &PortSet::port);
    if (more) {
      ++at->kin;
    } else if (--at->kin == 0) {
      ports.erase(at);
      port_by_set_.erase(it);
      sets_.destroy(set);
      changed_ports_.push_back(atom);
    }
  });
}

void MemberIndex::set_kin_sets(KinId kin) {
  const auto look = kin_[kin][0];
  const auto ports = ports_[kin_[kin][1]];
  auto& selected = matched_;
  selected.clear();
  auto& sets = kin_scratch_;
  sets.clear();
  selected_.for_each(selected_by_look_[look], [&](SelectorIndex::Id selector) {
    selected.push_back(selector);
    if (selector < set_by_selector_.size() && set_by_selector_[selector] != 0)
      sets.push_back(set_by_selector_[selector]);
  });
  for (std::size_t i = 0; i < ports.size() && !atoms_by_port_.empty(); i += 2) {
    const auto it = atoms_by_port_.find(port_key(ports[i], static_cast<Protocol>(ports[i + 1] >> 16)));
    if (it == atoms_by_port_.end()) continue;
    for (const auto atom : it->second) {
      const auto selector = atoms_[atom].selector;
      if (selector != 0 && !std::ranges::binary_search(selected, selector)) continue;
      sets.push_back(port_set(atom, static_cast<std::uint16_t>(ports[i + 1])));
    }
  }
  if (!std::ranges::is_sorted(sets)) std::ranges::sort(sets);
  sets.erase(std::ranges::unique(sets).begin(), sets.end());
  const auto signature = sets_.signatures.acquire(sets).id;
  count_port_sets(signature, true);
  count_port_sets(kin_sets_[kin], false);
  sets_.signatures.release(kin_sets_[kin]);
  kin_sets_[kin] = signature;
}

void MemberIndex::release_kin_use(KinId kin) {
  if (kin == 0) return;
  const auto look = kin_[kin][0];
  const auto ports = kin_[kin][1];
  if (!kin_.release(kin)) return;
  count_port_sets(kin_sets_[kin], false);
  sets_.signatures.release(kin_sets_[kin]);
  kin_sets_[kin] = 0;
  release_look(look);
  release_ports(ports);
}

// Finds the kin of a member anew, which has this look.
void MemberIndex::settle(MemberId id, std::span<const std::uint32_t> words) {
  auto& member = members_[id];
  member.touched = false;
  KinId kin = 0;
  if (member.present) {
    const auto look = acquire_look(words);
    const std::array<std::uint32_t, 2> key{look, member.ports};
    const auto acquired = kin_.acquire(key);
    kin = acquired.id;
    if (acquired.is_new) {
      ports_.retain(member.ports);
      if (kin_sets_.size() <= kin) kin_sets_.resize(kin + 1);
      set_kin_sets(kin);
    } else {
      release_look(look);
    }
  }
  const auto old = std::exchange(member.kin, kin);
  if (old != kin) {
    for (const auto place : places(id)) addresses_.touch(place);
  }
  release_kin_use(old);
}

// Looks and kin lie in no cache, and lead from place to place: they are asked for a step at a time for some
// members at once.
void MemberIndex::settle_touched() {
  constexpr std::size_t kTogether = 32;
  std::array<std::size_t, kTogether + 1> from{};  // into scratch_
  std::array<SequencePool::Id, kTogether> likely{};
  for (std::span<const MemberId> left = touched_; !left.empty();) {
    const auto some = left.first(std::min(left.size(), kTogether));
    left = left.subspan(some.size());
    scratch_.clear();
    for (std::size_t i = 0; i < some.size(); ++i) {
      const auto& member = members_[some[i]];
      kin_.expect_entry(member.kin);
      if (member.present) add_look(member, scratch_);
      from[i + 1] = scratch_.size();
    }
    const auto words = [&](std::size_t i) {
      return std::span<const std::uint32_t>(scratch_).subspan(from[i], from[i + 1] - from[i]);
    };
    const auto key = [&](std::size_t i) {
      return std::array<std::uint32_t, 2>{likely[i], members_[some[i]].ports};
    };
    for (std::size_t i = 0; i < some.size(); ++i) looks_.expect(words(i));
    for (std::size_t i = 0; i < some.size(); ++i) looks_.expect_entry(likely[i] = looks_.guess(words(i)));
    for (std::size_t i = 0; i < some.size(); ++i) {
      looks_.expect_items(likely[i]);
      kin_.expect(key(i));
    }
    for (std::size_t i = 0; i < some.size(); ++i) kin_.expect_entry(kin_.guess(key(i)));
    for (std::size_t i = 0; i < some.size(); ++i) settle(some[i], words(i));
  }
  touched_.clear();
}

void MemberIndex::update(const RuleBook& book, std::span<const AtomId> touched) {
  changed_ports_.clear();
  if (atoms_.size() < book.atom_bound()) atoms_.resize(book.atom_bound());
  for (const auto id : touched) {
    if (atoms_[id].active && book.atom(id).active == 0) deactivate(id);
  }
  // Numbers of selectors that went may be used again from here on.
  ask_looks();
  gone_selectors_.clear();
  for (const auto id : touched) {
    if (!atoms_[id].active && book.atom(id).active > 0) activate(id, book.atom(id));
  }
  for (const auto id : services_.update()) changed_ports_.push_back(id);
  if (watched_changed_) {
    for (MemberId id = 0; id < members_.size(); ++id) {
      if (members_[id].present) touch(id);
    }
  }
  ask_looks();
  new_selectors_.clear();
  if (sets_changed_) {
    for (KinId kin = 1; kin < kin_sets_.size(); ++kin) {
      if (kin_.contains(kin)) set_kin_sets(kin);
    }
    addresses_.touch_all_blends();
  }
  settle_touched();
  watched_changed_ = false;
  sets_changed_ = false;
}

}  // namespace ocicat::policy
