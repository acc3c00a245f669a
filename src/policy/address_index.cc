#include "policy/address_index.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/result.h"

namespace ocicat::policy {

namespace {

constexpr std::uint32_t kNets = 0x80000000;

std::size_t index_of(Family family) {
  return family == Family::kIpv4 ? 0 : 1;
}

// What stands for "no enclosing place" in a blend's key: the families never share a blend.
constexpr std::uint32_t kNothingAround4 = 0;
constexpr std::uint32_t kNothingAround6 = 0xffffffff;

// Beyond this many nets that come or go at once, every place is looked at.
constexpr std::size_t kManyNets = 16;

// The longest prefix that holds both; they are of one family.
Prefix common(const Prefix& a, const Prefix& b) {
  int length = std::min(a.length, b.length);
  for (int bit = 0; bit < length; ++bit) {
    if (a.address.bit(bit) != b.address.bit(bit)) length = bit;
  }
  return Prefix{a.address, static_cast<std::uint8_t>(length)}.masked();
}

}  // namespace

AddressIndex::AddressIndex(SetSpace& sets, IdRegistry& ids)
    : sets_(sets), classes_(sets, ids), places_(1), index_(0, Hash{}, Equal{this}), blends_(1) {}

std::uint32_t AddressIndex::hash_of(const Prefix& prefix) {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  std::memcpy(&high, prefix.address.bytes().data(), 8);
  std::memcpy(&low, prefix.address.bytes().data() + 8, 8);
  const auto neighbour = prefix.address.bytes().back() & 3U;
  low = __builtin_bswap64(low) & ~std::uint64_t{3};
  auto hash = (high ^ prefix.length) * 0x9e3779b97f4a7c15ULL;
  hash = (hash ^ hash >> 32 ^ low) * 0xe7037ed1a0b428dbULL;
  hash = (hash ^ hash >> 32) * 0x9e3779b97f4a7c15ULL;
  return static_cast<std::uint32_t>(hash >> 32 & ~0xffULL) | ((hash >> 32 ^ neighbour * 0x41) & 0xff);
}

PlaceId AddressIndex::find(const Prefix& prefix) const {
  const auto it = index_.find(prefix.masked());
  return it == index_.end() ? 0 : it->place;
}

PlaceId AddressIndex::find_or_add(const Prefix& unmasked) {
  const auto prefix = unmasked.masked();
  if (const auto it = index_.find(prefix); it != index_.end()) return it->place;
  PlaceId id = 0;
  if (free_places_.empty()) {
    id = static_cast<PlaceId>(places_.size());
    places_.emplace_back();
  } else {
    id = free_places_.back();
    free_places_.pop_back();
  }
  places_[id] = {.prefix = prefix};
  index_.insert({id, hash_of(prefix)});
  if (!prefix.is_host()) {
    ++wide_by_length_[index_of(prefix.family())][prefix.length];
    ++wide_[index_of(prefix.family())];
    new_wide_.push_back(id);
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
  if (wide_[index_of(prefix.family())] == 0) return 0;
  const auto& lengths = wide_by_length_[index_of(prefix.family())];
  for (int length = prefix.length - 1; length >= 0; --length) {
    if (lengths[static_cast<std::size_t>(length)] == 0) continue;
    const Prefix around{prefix.address, static_cast<std::uint8_t>(length)};
    if (const auto it = index_.find(around.masked()); it != index_.end()) return it->place;
  }
  return 0;
}

PlaceId AddressIndex::around(BlendId id) const {
  const auto place = blend_keys_[blends_[id].key][0];
  return place == kNothingAround6 ? 0 : place;
}

// Blends whose enclosing place may be another one now, as wide places came or went; who is gone is out of the
// index already.
void AddressIndex::settle_wide(const std::vector<PlaceId>& gone, Kinship& kinship) {
  std::vector<PlaceId> gone_wide;
  for (const auto id : gone) {
    if (!places_[id].prefix.is_host()) gone_wide.push_back(id);
  }
  std::erase_if(new_wide_, [&](PlaceId id) { return places_[id].members == 0 && places_[id].nets == 0; });
  if (gone_wide.size() + new_wide_.size() > kManyNets) {
    for (PlaceId id = 1; id < places_.size(); ++id) {
      if (places_[id].members != 0 || places_[id].nets != 0) touch(id);
    }
    return;
  }
  const auto bound = blends_.size();
  for (const auto wide : gone_wide) {
    const auto next = enclosing(places_[wide].prefix);
    for (BlendId id = 1; id < bound; ++id) {
      if (blends_[id].key != 0 && around(id) == wide) surround(id, next, kinship);
    }
  }
  // The widest first: then who lies in several ends in the narrowest.
  std::ranges::sort(new_wide_, {}, [this](PlaceId id) { return places_[id].prefix.length; });
  for (const auto wide : new_wide_) {
    const auto& prefix = places_[wide].prefix;
    const auto before = enclosing(prefix);
    for (BlendId id = 1; id < bound; ++id) {
      const auto& blend = blends_[id];
      if (blend.key == 0 || around(id) != before || blend.bound.family() != prefix.family()) continue;
      if (prefix.contains(blend.bound)) {
        surround(id, wide, kinship);
      } else if (blend.bound.contains(prefix)) {
        for (auto place = blend.first; place != 0; place = places_[place].next) {
          if (prefix.contains(places_[place].prefix)) touch(place);
        }
      }
    }
  }
}

// Gives all places of a blend another enclosing place. Where a blend of just that kind is there, they are one
// from here on.
void AddressIndex::surround(BlendId id, PlaceId place, Kinship& kinship) {
  const auto old = blend_keys_[blends_[id].key];
  auto& key = key_;
  key.assign(old.begin(), old.end());
  const bool v4 = blends_[id].bound.family() == Family::kIpv4;
  key[0] = place != 0 ? place : v4 ? kNothingAround4 : kNothingAround6;
  if (const auto known = blend_keys_.find(key); known != 0) {
    const auto other = blend_by_key_[known];
    if (blends_[id].places <= blends_[other].places) {
      move_places(id, other, kinship);
      return;
    }
    const std::vector<std::uint32_t> wanted = key;
    move_places(other, id, kinship);
    key = wanted;
  }
  auto& blend = blends_[id];
  const auto fresh = blend_keys_.acquire(key).id;
  if (blend_by_key_.size() <= fresh) blend_by_key_.resize(fresh + 1);
  blend_by_key_[fresh] = id;
  blend_by_key_[blend.key] = 0;
  blend_keys_.release(blend.key);
  blend.key = fresh;
  blend.computed = false;
  new_blends_.push_back(id);
}

void AddressIndex::move_places(BlendId from, BlendId to, Kinship& kinship) {
  for (auto left = blends_[from].places; left > 0; --left) {
    const auto place = blends_[from].first;
    note_moved(place);
    unlink(place, kinship);
    link(place, to);
  }
}

void AddressIndex::note_moved(PlaceId id) {
  auto& place = places_[id];
  if (place.moved) return;
  place.moved = true;
  moved_.push_back({id, place.blend == 0 ? 0 : blends_[place.blend].emitted});
}

AddressIndex::BlendId AddressIndex::make_blend(SequencePool::Id key) {
  BlendId id = 0;
  if (free_blends_.empty()) {
    id = static_cast<BlendId>(blends_.size());
    blends_.emplace_back();
  } else {
    id = free_blends_.back();
    free_blends_.pop_back();
  }
  blends_[id] = {};
  blends_[id].key = key;
  if (blend_by_key_.size() <= key) blend_by_key_.resize(key + 1);
  blend_by_key_[key] = id;
  new_blends_.push_back(id);
  return id;
}

void AddressIndex::drop_blend(BlendId id, Kinship& kinship) {
  const auto key = blends_[id].key;
  std::vector<KinId> kin;
  for (const auto item : blend_keys_[key].subspan(1)) {
    if ((item & kNets) == 0) kin.push_back(item);
  }
  set_signature(id, 0);
  blends_[id] = {};
  blend_by_key_[key] = 0;
  blend_keys_.release(key);
  free_blends_.push_back(id);
  for (const auto one : kin) kinship.release_kin(one);
}

void AddressIndex::link(PlaceId id, BlendId to) {
  auto& place = places_[id];
  auto& blend = blends_[to];
  place.blend = to;
  place.previous = 0;
  place.next = blend.first;
  if (blend.first != 0) places_[blend.first].previous = id;
  blend.first = id;
  if (blend.places++ == 0) {
    blend.bound = place.prefix;
  } else if (!blend.bound.contains(place.prefix)) {
    blend.bound = common(blend.bound, place.prefix);
  }
}

void AddressIndex::unlink(PlaceId id, Kinship& kinship) {
  auto& place = places_[id];
  const auto from = std::exchange(place.blend, 0);
  if (from == 0) return;
  auto& blend = blends_[from];
  (place.previous == 0 ? blend.first : places_[place.previous].next) = place.next;
  if (place.next != 0) places_[place.next].previous = place.previous;
  if (--blend.places == 0) drop_blend(from, kinship);
}

// The blend where a place with one member most likely belongs; 0: nobody knows.
AddressIndex::BlendId AddressIndex::likely_blend(PlaceId id, const Kinship& kinship) const {
  const auto members = places_[id].members;
  const auto kin = members & 1 ? kinship.kin_of(members >> 1) : 0;
  return kin < blend_by_kin_.size() ? blend_by_kin_[kin] : 0;
}

// What touched places will lead to lies in no cache: asks for it a step at a time for all of them.
void AddressIndex::fetch_touched(const Kinship& kinship) const {
  constexpr std::size_t kMost = 1'024;  // more would push itself out again
  const auto some = std::span(touched_).first(std::min(touched_.size(), kMost));
  for (const auto id : some) __builtin_prefetch(&blends_[places_[id].blend]);
  for (const auto id : some) __builtin_prefetch(&blends_[likely_blend(id, kinship)]);
  for (const auto id : some) blend_keys_.expect_entry(blends_[likely_blend(id, kinship)].key);
}

// Puts a place into the blend it belongs to.
void AddressIndex::settle(PlaceId id, Kinship& kinship) {
  auto& place = places_[id];
  place.touched = false;
  auto& key = key_;
  const auto around = enclosing(place.prefix);
  key.assign(1, around != 0                              ? around
                : place.prefix.family() == Family::kIpv4 ? kNothingAround4
                                                         : kNothingAround6);
  if (place.members & 1) {
    key.push_back(kinship.kin_of(place.members >> 1));
  } else {
    for (const auto member : member_lists_[place.members >> 1]) key.push_back(kinship.kin_of(member));
  }
  std::ranges::sort(key.begin() + 1, key.end());
  key.erase(std::unique(key.begin() + 1, key.end()), key.end());
  const auto kin_end = key.size();
  for (const auto set : net_lists_[place.nets]) key.push_back(set | kNets);
  auto blend = likely_blend(id, kinship);
  if (blend == 0 || !std::ranges::equal(blend_keys_[blends_[blend].key], key)) {
    const auto [known, is_new] = blend_keys_.acquire(key);
    if (is_new) {
      for (std::size_t i = 1; i < kin_end; ++i) kinship.retain_kin(key[i]);
      blend = make_blend(known);
    } else {
      blend = blend_by_key_[known];
      blend_keys_.release(known);  // a blend uses its key once
    }
    if (kin_end == 2) {
      if (blend_by_kin_.size() <= key[1]) blend_by_kin_.resize(key[1] + 1);
      blend_by_kin_[key[1]] = blend;
    }
  }
  if (blend == place.blend) return;
  note_moved(id);
  unlink(id, kinship);
  link(id, blend);
}

SignatureId AddressIndex::compute(BlendId id, const Kinship& kinship) {
  if (blends_[id].computed) return blends_[id].signature;
  blends_[id].computed = true;
  const auto place = around(id);
  const auto key = blend_keys_[blends_[id].key].subspan(1);
  if (place == 0 && key.size() == 1 && (key.front() & kNets) == 0) {  // most are like this
    const auto signature = kinship.signature_of(key.front());
    sets_.signatures.retain(signature);
    set_signature(id, signature);
    return signature;
  }
  std::vector<SetId> sets;
  const auto add = [&](SetId set) { sets.push_back(set); };
  if (place != 0) sets_.signatures.for_each(compute(places_[place].blend, kinship), add);
  for (const auto item : key) {
    if (item & kNets) {
      add(item & ~kNets);
    } else {
      sets_.signatures.for_each(kinship.signature_of(item), add);
    }
  }
  std::ranges::sort(sets);
  sets.erase(std::ranges::unique(sets).begin(), sets.end());
  set_signature(id, sets_.signatures.acquire(sets).id);
  return blends_[id].signature;
}

// Takes over one use of the signature.
void AddressIndex::set_signature(BlendId id, SignatureId signature) {
  classes_.join(signature);
  auto& current = blends_[id].signature;
  classes_.leave(current);
  sets_.signatures.release(current);
  current = signature;
}

std::vector<std::size_t> AddressIndex::places_by_signature() const {
  std::vector<std::size_t> places(sets_.signatures.bound());
  for (const auto& blend : blends_) places[blend.signature] += blend.places;
  return places;
}

// What the places of a blend have to show: nothing where the place around them says it already.
std::uint32_t AddressIndex::shown_by(BlendId id) const {
  const auto place = around(id);
  const auto own = blends_[id].signature;
  if (own == (place == 0 ? 0 : signature(place))) return 0;
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
  const auto refresh = [&](BlendId id) {
    auto& blend = blends_[id];
    const auto shown = shown_by(id);
    if (shown == blend.emitted) return;
    blend.emitted = shown;
    for (auto place = blend.first; place != 0; place = places_[place].next) {
      if (!places_[place].moved) show(places_[place].prefix, shown);
    }
  };
  if (all_blends_touched_) {
    for (BlendId id = 1; id < blends_.size(); ++id) {
      if (blends_[id].key != 0) refresh(id);
    }
  } else {
    for (const auto id : new_blends_) {
      if (blends_[id].key != 0) refresh(id);
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
  std::vector<PlaceId> gone;
  bool any_wide = !new_wide_.empty();
  for (const auto id : touched_) {
    const auto& place = places_[id];
    if (place.members != 0 || place.nets != 0) continue;
    note_moved(id);
    gone.push_back(id);
    index_.erase(Slot{id, hash_of(places_[id].prefix)});
    if (place.prefix.is_host()) continue;
    any_wide = true;
    --wide_by_length_[index_of(place.prefix.family())][place.prefix.length];
    --wide_[index_of(place.prefix.family())];
  }
  if (any_wide) settle_wide(gone, kinship);
  fetch_touched(kinship);
  for (std::size_t i = 0; i < touched_.size(); ++i) {
    const auto id = touched_[i];
    const auto& place = places_[id];
    if (place.members == 0 && place.nets == 0) continue;
    // A wide place decides what those within it are.
    all_blends_touched_ = all_blends_touched_ || !place.prefix.is_host();
    settle(id, kinship);
  }
  touched_.clear();
  new_wide_.clear();
  all_blends_touched_ = all_blends_touched_ || any_wide;
  for (const auto id : gone) unlink(id, kinship);

  if (all_blends_touched_) {
    for (auto& blend : blends_) blend.computed = false;
    for (BlendId id = 1; id < blends_.size(); ++id) {
      if (blends_[id].key != 0) compute(id, kinship);
    }
  } else {
    for (const auto id : new_blends_) {
      if (blends_[id].key != 0) compute(id, kinship);
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
