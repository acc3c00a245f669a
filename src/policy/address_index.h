// Which addresses no active rule tells apart.
//
// A *place* is a prefix that somebody owns or that an active rule mentions. Places with the same owners' kin,
// the same nets and the same enclosing place are of one *blend*; what follows from it, the signature (all
// sets it is in, those of enclosing places included) and the class, is computed once a blend. So a set that
// comes into use costs one look at each blend, and writes only where a class is divided: then the larger part
// keeps the id. A net that comes or goes around all places of a blend changes the blend, not the places.
//
//   out      an entry for each place whose class differs from what the places around it say already
//   cost     a place that changes: the lengths of prefixes in use; a net that comes or goes: one pass over
//   places
#pragma once

#include <boost/unordered/unordered_flat_set.hpp>

#include <array>
#include <cstdint>
#include <deque>
#include <span>
#include <utility>
#include <vector>

#include "policy/class_index.h"
#include "policy/sequence_pool.h"
#include "policy/set_space.h"
#include "policy/tables.h"

namespace ocicat::policy {

using MemberId = std::uint32_t;  // below 2^31
using KinId = std::uint32_t;     // below 2^31
using PlaceId = std::uint32_t;   // from 1

// What the address index must know of members.
class Kinship {
 public:
  virtual ~Kinship() = default;
  virtual KinId kin_of(MemberId member) const = 0;
  // The sets that kin are in; the caller does not hold it.
  virtual SignatureId signature_of(KinId kin) const = 0;
  // Kin in use by a blend stay.
  virtual void retain_kin(KinId kin) = 0;
  virtual void release_kin(KinId kin) = 0;
};

class AddressIndex {
 public:
  AddressIndex(SetSpace& sets, IdRegistry& ids);

  // A member has the prefix; once a member and prefix.
  PlaceId attach(const Prefix& prefix, MemberId member);
  void detach(PlaceId place, MemberId member);
  // The prefix is one of the nets of a set.
  void attach_nets(const Prefix& prefix, SetId set);
  void detach_nets(const Prefix& prefix, SetId set);
  // A member of the place changed its kin.
  void touch(PlaceId place);
  // The sets of some kin changed.
  void touch_all_blends() { all_blends_touched_ = true; }

  struct Update : ClassIndex::Update {
    Changes<Prefix, ClassId> classes;
    bool any = false;  // a signature of some place may have changed
  };
  Update update(Kinship& kinship);

  PlaceId find(const Prefix& prefix) const;
  const Prefix& prefix(PlaceId place) const { return places_[place].prefix; }
  // Asks for the memory of a place.
  void expect(PlaceId place) const { __builtin_prefetch(&places_[place]); }
  // The members that have exactly this prefix, ascending.
  std::vector<MemberId> members(PlaceId place) const;
  // What the address of a place is in. Valid after update().
  SignatureId signature(PlaceId place) const { return blends_[places_[place].blend].signature; }
  const ClassIndex& classes() const { return classes_; }
  std::size_t place_count() const { return index_.size(); }

 private:
  using BlendId = std::uint32_t;  // from 1
  struct Place {
    Prefix prefix;
    bool touched = false;
    bool moved = false;
    std::uint32_t members = 0;  // 0: none; odd: one, shifted; even: a list in member_lists_, shifted
    SequencePool::Id nets = 0;  // sets whose nets this prefix is one of, in net_lists_
    BlendId blend = 0;
    PlaceId previous = 0;  // of the blend
    PlaceId next = 0;
  };
  struct Blend {
    SequencePool::Id key = 0;  // in blend_keys_; 0: not in use
    SignatureId signature = 0;
    PlaceId first = 0;
    std::uint32_t places = 0;
    std::uint32_t emitted = 0;  // class id that its places show; 0: none
    Prefix bound;               // holds all its places; may be wider than need be
    bool computed = false;
  };
  struct Moved {
    PlaceId place;          // keeps its prefix to the end of the batch, though it may be gone
    std::uint32_t emitted;  // what it showed before the batch
  };
  // A place, and half of its prefix's hash: places lie far apart, and an index that grows asks for all
  // hashes.
  struct Slot {
    PlaceId place;
    std::uint32_t hash;
  };
  // Where addresses are many they follow one another, so four neighbours have one hash but for its last byte:
  // they lie in one group of slots. The index takes a group from the highest bits, and tells who is in it
  // apart by the lowest.
  static std::uint32_t hash_of(const Prefix& prefix);
  struct Hash {
    using is_transparent = void;
    using is_avalanching = void;
    std::size_t operator()(const Slot& slot) const {
      return std::uint64_t{slot.hash} << 32 | (slot.hash & 0xff);
    }
    std::size_t operator()(const Prefix& prefix) const { return (*this)(Slot{0, hash_of(prefix)}); }
  };
  struct Equal {
    using is_transparent = void;
    const AddressIndex* index;
    bool operator()(const Slot& a, const Slot& b) const { return a.place == b.place; }
    bool operator()(const Prefix& prefix, const Slot& slot) const {
      return prefix == index->places_[slot.place].prefix;
    }
    bool operator()(const Slot& slot, const Prefix& prefix) const { return (*this)(prefix, slot); }
  };

  PlaceId find_or_add(const Prefix& prefix);
  PlaceId enclosing(const Prefix& prefix) const;
  void settle_wide(const std::vector<PlaceId>& gone, Kinship& kinship);
  void surround(BlendId blend, PlaceId around, Kinship& kinship);
  void move_places(BlendId from, BlendId to, Kinship& kinship);
  BlendId likely_blend(PlaceId id, const Kinship& kinship) const;
  void fetch_touched(const Kinship& kinship) const;
  void settle(PlaceId id, Kinship& kinship);
  void note_moved(PlaceId id);
  BlendId make_blend(SequencePool::Id key);
  void drop_blend(BlendId id, Kinship& kinship);
  void link(PlaceId id, BlendId blend);
  void unlink(PlaceId id, Kinship& kinship);
  SignatureId compute(BlendId blend, const Kinship& kinship);
  void set_signature(BlendId blend, SignatureId signature);
  std::vector<std::size_t> places_by_signature() const;
  void emit(Update& update);
  std::uint32_t shown_by(BlendId blend) const;
  PlaceId around(BlendId blend) const;

  SetSpace& sets_;
  ClassIndex classes_;
  std::deque<Place> places_;
  std::vector<PlaceId> free_places_;
  boost::unordered_flat_set<Slot, Hash, Equal> index_;
  std::array<std::array<std::uint32_t, 129>, 2> wide_by_length_{};  // places that are no hosts, by family
  std::array<std::uint32_t, 2> wide_{};
  SequencePool member_lists_;
  SequencePool net_lists_;
  // Enclosing place, or what stands for none in its family; kin, ascending; nets' sets with the top bit set,
  // ascending.
  SequencePool blend_keys_;
  std::vector<BlendId> blend_by_key_;
  // The last one that a place with one member of the kin came to; by now it may be another's, or nobody's.
  std::vector<BlendId> blend_by_kin_;
  std::vector<BlendId> free_blends_;
  std::vector<Blend> blends_;

  std::vector<PlaceId> touched_;
  std::vector<PlaceId> new_wide_;    // places that are no hosts
  std::vector<BlendId> new_blends_;  // or with another place around
  std::vector<Moved> moved_;
  std::vector<std::uint32_t> key_;
  bool all_blends_touched_ = false;
};

}  // namespace ocicat::policy
