#include "policy/address_index.h"

#include <algorithm>
#include <utility>

#include "base/result.h"

namespace ocicat::policy {

namespace {

constexpr std::uint32_t kNets = 0x80000000;

std::size_t index_of(Family family) {
  return family == Family::kIpv4 ? 0 : 1;
}

// Beyond this many changed nets, every place is looked at without asking whether it lies in one of them.
constexpr std::size_t kManyNets = 16;

}  // namespace

AddressIndex::AddressIndex(SetSpace& sets, IdRegistry& ids)
    : sets_(sets), classes_(sets, ids), places_(1), index_(0, Hash{this}, Equal{this}), blends_(1) {}

PlaceId AddressIndex::find(const Prefix& prefix) const {
  const auto it = index_.find(prefix.masked());
  return it == index_.end() ? 0 : *it;
}

PlaceId AddressIndex::find_or_add(const Prefix& unmasked) {
  const auto prefix = unmasked.masked();
  if (const auto it = index_.find(prefix); it != index_.end()) return *it;
  PlaceId id = 0;
  if (free_places_.empty()) {
    id = static_cast<PlaceId>(places_.size());
    places_.emplace_back();
  } else {
    id = free_places_.back();
    free_places_.pop_back();
  }
  places_[id] = {.prefix = prefix};
  index_.insert(id);
  if (!prefix.is_host()) {
    ++wide_by_length_[index_of(prefix.family())][prefix.length];
    wide_changes_.push_back(prefix);
  }
  return id;
}

void AddressIndex::touch(PlaceId id) {
  auto& place = places_[id];
  if (place.touched) return;
  place.touched = true;
  touched_.push_back(id);
}

std::vector<MemberId> AddressIndex::members(PlaceId id) const {
  const auto members = places_[id].members;
  if (members == 0) return {};
  if (members & 1) return {members >> 1};
  const auto list = member_lists_[members >> 1];
  return {list.begin(), list.end()};
}

PlaceId AddressIndex::attach(const Prefix& prefix, MemberId member) {
  const auto id = find_or_add(prefix);
  auto& place = places_[id];
  touch(id);
  if (place.members == 0) {
    place.members = member << 1 | 1;
    return id;
  }
  auto list = members(id);
  list.insert(std::ranges::lower_bound(list, member), member);
  if ((place.members & 1) == 0) member_lists_.release(place.members >> 1);
  place.members = member_lists_.acquire(list).id << 1;
  return id;
}

void AddressIndex::detach(PlaceId id, MemberId member) {
  auto& place = places_[id];
  auto list = members(id);
  const auto it = std::ranges::lower_bound(list, member);
  CHECK(it != list.end() && *it == member);
  list.erase(it);
  if ((place.members & 1) == 0) member_lists_.release(place.members >> 1);
  place.members = list.empty()       ? 0
                  : list.size() == 1 ? list.front() << 1 | 1
                                     : member_lists_.acquire(list).id << 1;
  touch(id);
}

void AddressIndex::attach_nets(const Prefix& prefix, SetId set) {
  const auto id = find_or_add(prefix);
  auto& place = places_[id];
  const auto list = net_lists_[place.nets];
  std::vector<SetId> sets(list.begin(), list.end());
  sets.insert(std::ranges::lower_bound(sets, set), set);
  net_lists_.release(place.nets);
  place.nets = net_lists_.acquire(sets).id;
  touch(id);
}

void AddressIndex::detach_nets(const Prefix& prefix, SetId set) {
  const auto id = find(prefix);
  auto& place = places_[id];
  const auto list = net_lists_[place.nets];
  std::vector<SetId> sets(list.begin(), list.end());
  std::erase(sets, set);
  net_lists_.release(place.nets);
  place.nets = net_lists_.acquire(sets).id;
  touch(id);
}

// The nearest place around a prefix, itself excluded; 0: none.
PlaceId AddressIndex::enclosing(const Prefix& prefix) const {
  const auto& lengths = wide_by_length_[index_of(prefix.family())];
  for (int length = prefix.length - 1; length >= 0; --length) {
    if (lengths[static_cast<std::size_t>(length)] == 0) continue;
    const Prefix around{prefix.address, static_cast<std::uint8_t>(length)};
    if (const auto it = index_.find(around.masked()); it != index_.end()) return *it;
  }
  return 0;
}

// Places whose enclosing place may be another one now.
void AddressIndex::touch_enclosed() {
  const bool many = wide_changes_.size() > kManyNets;
  for (PlaceId id = 1; id < places_.size(); ++id) {
    const auto& place = places_[id];
    if (place.members == 0 && place.nets == 0) continue;
    if (many ||
        std::ranges::any_of(wide_changes_, [&](const Prefix& wide) { return wide.contains(place.prefix); })) {
      touch(id);
    }
  }
}

void AddressIndex::note_moved(PlaceId id) {
  auto& place = places_[id];
  if (place.moved) return;
  place.moved = true;
  moved_.push_back({id, place.blend == 0 ? 0 : blends_[place.blend].emitted});
}

void AddressIndex::link(PlaceId id, SequencePool::Id blend) {
  auto& place = places_[id];
  auto& first = blends_[blend].first;
  place.blend = blend;
  place.previous = 0;
  place.next = first;
  if (first != 0) places_[first].previous = id;
  first = id;
}

void AddressIndex::unlink(PlaceId id, Kinship& kinship) {
  auto& place = places_[id];
  if (place.blend == 0) return;
  auto& blend = blends_[place.blend];
  (place.previous == 0 ? blend.first : places_[place.previous].next) = place.next;
  if (place.next != 0) places_[place.next].previous = place.previous;
  if (blend.first == 0) {  // that was the last place
    std::vector<KinId> kin;
    for (const auto item : blend_keys_[place.blend].subspan(1)) {
      if ((item & kNets) == 0) kin.push_back(item);
    }
    set_signature(place.blend, 0);
    blend = {};
    for (const auto one : kin) kinship.release_kin(one);
  }
  blend_keys_.release(place.blend);
  place.blend = 0;
}

// Puts a place into the blend it belongs to.
void AddressIndex::settle(PlaceId id, Kinship& kinship) {
  auto& place = places_[id];
  place.touched = false;
  auto& key = key_;
  key.assign(1, enclosing(place.prefix));
  if (place.members & 1) {
    key.push_back(kinship.kin_of(place.members >> 1));
  } else {
    for (const auto member : member_lists_[place.members >> 1]) key.push_back(kinship.kin_of(member));
  }
  std::ranges::sort(key.begin() + 1, key.end());
  key.erase(std::unique(key.begin() + 1, key.end()), key.end());
  const auto kin_end = key.size();
  for (const auto set : net_lists_[place.nets]) key.push_back(set | kNets);
  const auto [blend, is_new] = blend_keys_.acquire(key);
  if (blend == place.blend) {
    blend_keys_.release(blend);
    return;
  }
  if (is_new) {
    for (std::size_t i = 1; i < kin_end; ++i) kinship.retain_kin(key[i]);
    if (blends_.size() <= blend) blends_.resize(blend + 1);
    blends_[blend] = {};
    new_blends_.push_back(blend);
  }
  note_moved(id);
  unlink(id, kinship);
  link(id, blend);
}

SignatureId AddressIndex::compute(SequencePool::Id id, const Kinship& kinship) {
  if (blends_[id].computed) return blends_[id].signature;
  const auto key = blend_keys_[id];
  std::vector<SetId> sets;
  if (key[0] != 0) {
    const auto around = sets_.signatures[compute(places_[key[0]].blend, kinship)];
    sets.assign(around.begin(), around.end());
  }
  for (const auto item : key.subspan(1)) {
    if (item & kNets) {
      sets.push_back(item & ~kNets);
    } else {
      const auto more = kinship.sets_of(item);
      sets.insert(sets.end(), more.begin(), more.end());
    }
  }
  std::ranges::sort(sets);
  sets.erase(std::ranges::unique(sets).begin(), sets.end());
  set_signature(id, sets_.signatures.acquire(sets).id);
  blends_[id].computed = true;
  return blends_[id].signature;
}

// Takes over one use of the signature.
void AddressIndex::set_signature(SequencePool::Id id, SignatureId signature) {
  classes_.join(signature);
  auto& current = blends_[id].signature;
  classes_.leave(current);
  sets_.signatures.release(current);
  current = signature;
}

std::vector<std::size_t> AddressIndex::places_by_signature() const {
  std::vector<std::size_t> places(sets_.signatures.bound());
  for (SequencePool::Id id = 1; id < blends_.size(); ++id) {
    if (blend_keys_.contains(id)) places[blends_[id].signature] += blend_keys_.users(id);
  }
  return places;
}

// What the places of a blend have to show: nothing where the place around them says it already.
std::uint32_t AddressIndex::shown_by(SequencePool::Id id) const {
  const auto around = blend_keys_[id][0];
  const auto own = blends_[id].signature;
  if (own == (around == 0 ? 0 : signature(around))) return 0;
  return static_cast<std::uint32_t>(classes_.of(own));
}

void AddressIndex::emit(Update& update) {
  const auto show = [&](const Prefix& prefix, std::uint32_t class_id) {
    if (class_id == 0) {
      update.classes.remove(prefix);
    } else {
      update.classes.update(prefix, ClassId{class_id});
    }
  };
  const auto refresh = [&](SequencePool::Id id) {
    auto& blend = blends_[id];
    const auto shown = shown_by(id);
    if (shown == blend.emitted) return;
    blend.emitted = shown;
    for (auto place = blend.first; place != 0; place = places_[place].next) {
      if (!places_[place].moved) show(places_[place].prefix, shown);
    }
  };
  if (all_blends_touched_) {
    for (SequencePool::Id id = 1; id < blends_.size(); ++id) {
      if (blend_keys_.contains(id)) refresh(id);
    }
  } else {
    for (const auto id : new_blends_) {
      if (blend_keys_.contains(id)) refresh(id);
    }
  }
  for (const auto& moved : moved_) {
    auto& place = places_[moved.place];
    const auto now = place.blend == 0 ? 0 : blends_[place.blend].emitted;
    place.moved = false;
    if (now != moved.emitted) show(place.prefix, now);
  }
  moved_.clear();
}

AddressIndex::Update AddressIndex::update(Kinship& kinship) {
  Update update;
  if (touched_.empty() && !all_blends_touched_) return update;
  update.any = true;
  // First who is gone, so that nobody finds it around itself.
  for (std::size_t i = 0; i < touched_.size(); ++i) {
    const auto& place = places_[touched_[i]];
    if (place.members == 0 && place.nets == 0 && !place.prefix.is_host())
      wide_changes_.push_back(place.prefix);
  }
  if (!wide_changes_.empty()) touch_enclosed();
  std::vector<PlaceId> gone;
  for (const auto id : touched_) {
    const auto& place = places_[id];
    if (place.members != 0 || place.nets != 0) continue;
    note_moved(id);
    gone.push_back(id);
    index_.erase(id);
    if (!place.prefix.is_host()) --wide_by_length_[index_of(place.prefix.family())][place.prefix.length];
  }
  for (const auto id : touched_) {
    const auto& place = places_[id];
    if (place.members == 0 && place.nets == 0) continue;
    // A wide place decides what those within it are.
    all_blends_touched_ = all_blends_touched_ || !place.prefix.is_host();
    settle(id, kinship);
  }
  touched_.clear();
  wide_changes_.clear();
  for (const auto id : gone) unlink(id, kinship);

  if (all_blends_touched_) {
    for (auto& blend : blends_) blend.computed = false;
    for (SequencePool::Id id = 1; id < blends_.size(); ++id) {
      if (blend_keys_.contains(id)) compute(id, kinship);
    }
  } else {
    for (const auto id : new_blends_) {
      if (blend_keys_.contains(id)) compute(id, kinship);
    }
  }
  static_cast<ClassIndex::Update&>(update) = classes_.settle([this] { return places_by_signature(); });
  all_blends_touched_ = all_blends_touched_ || update.renamed;
  emit(update);
  for (const auto id : gone) {
    places_[id] = {};
    free_places_.push_back(id);
  }
  new_blends_.clear();
  all_blends_touched_ = false;
  return update;
}

}  // namespace ocicat::policy
