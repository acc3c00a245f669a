// The label index: which active sets every endpoint and network set is in, by its labels and ports.
//
// Members that look alike to the active selectors share one *look*: only labels that an active selector
// mentions count, and a selector is asked once for every look, not for every member. A look with the ports of
// a member is its *kin*: all members of one kin are in the same sets.
//
//   in       members, labels of profiles, atoms that become active or cease to be
//   out      the sets of each kin; to the address index, the places whose members changed kin
//   cost     a member that changes: its labels; a selector that becomes active: one question a look, and
//            where it names a label that none did before, one pass over the members
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "policy/address_index.h"
#include "policy/label_list.h"
#include "policy/rule_book.h"
#include "policy/selector_index.h"
#include "policy/service_index.h"
#include "policy/set_space.h"
#include "policy/string_pool.h"
#include "resources/types.h"

namespace ocicat::policy {

// An endpoint or network set as it is handed in; borrowed for the call.
struct MemberView {
  const Labels& labels;
  std::span<const std::string> profiles;
  std::span<const EndpointPort> ports;
  std::span<const Prefix> nets;  // an endpoint's addresses as host prefixes
};

class MemberIndex : public Kinship {
 public:
  MemberIndex(SetSpace& sets, AddressIndex& addresses);

  // Ids are the caller's, dense.
  void set(MemberId id, const MemberView& view);
  void remove(MemberId id);
  void set_slice(const ResourceKey& key, const EndpointSlice& slice) { services_.set(key, slice); }
  void remove_slice(const ResourceKey& key) { services_.remove(key); }
  void set_profile_labels(std::string_view profile, const Labels& labels);
  void remove_profile_labels(std::string_view profile);

  // Members whose labels or ports may have changed since the last update().
  const std::vector<MemberId>& touched() const { return touched_; }
  // Brings kin and sets up to date. `touched` are the atoms that may have become active or ceased to be.
  void update(const RuleBook& book, std::span<const AtomId> touched);

  // 0 where an atom is not active, and for named ports and ports of services.
  SetId set_of(AtomId atom) const { return atom < atoms_.size() ? atoms_[atom].set : 0; }
  // The numbers that the ports of an active atom have, and their sets; ascending.
  struct PortSet {
    std::uint16_t port;
    SetId set;
    std::uint32_t kin;  // that are in it
  };
  std::span<const PortSet> ports_of(AtomId atom) const;
  // The same of an active atom for the ports of a service.
  std::span<const ServiceIndex::PortSet> service_ports_of(AtomId atom) const {
    return services_.ports_of(atom);
  }
  // Named ports for which a number came or went in the last update(), or that became active; and ports of
  // services.
  const std::vector<AtomId>& changed_ports() const { return changed_ports_; }

  // All labels of a member, inherited ones included. Valid until the next change.
  void view_labels(MemberId id, LabelView& view) const;
  // Ascending by prefix. Valid until the member changes.
  std::span<const PlaceId> places(MemberId id) const {
    const auto& member = members_[id];
    if (member.places != 0) return place_lists_[member.places];
    return {&member.place, member.place == 0 ? 0U : 1U};
  }
  // Asks for the memory that set() and remove() of a member will look at: in four steps, each of which looks
  // at what the one before asked for, so that many members can be waited for at once.
  static constexpr int kSteps = 4;
  void expect(MemberId id, int step) const;
  // The same for names of labels that members will have.
  const StringPool& names() const { return strings_; }
  std::size_t look_count() const { return looks_.size(); }

  KinId kin_of(MemberId member) const override { return members_[member].kin; }
  SignatureId signature_of(KinId kin) const override { return kin_sets_[kin]; }
  void retain_kin(KinId kin) override { kin_.retain(kin); }
  void release_kin(KinId kin) override { release_kin_use(kin); }

 private:
  struct Entry {
    SequencePool::Id labels = 0;    // as in label_list.h
    SequencePool::Id profiles = 0;  // names, in order
    SequencePool::Id ports = 0;     // name, protocol << 16 | number, …; ascending
    PlaceId place = 0;              // where there is just one
    SequencePool::Id places = 0;    // where there are more
    KinId kin = 0;
    MemberId previous = 0;  // with the same profiles; ids shifted by one, 0: none
    MemberId next = 0;
    bool touched = false;
    bool present = false;
  };
  struct AtomState {
    SetId set = 0;
    SelectorIndex::Id selector = 0;
    StringPool::Id port_name = 0;
    Protocol protocol = 0;
    bool active = false;
    bool service = false;  // services_ has its sets
    std::vector<Prefix> nets;
    Digest digest;
    std::vector<PortSet> ports;
  };

  std::span<const std::uint32_t> words_of(const Labels& labels);
  SequencePool::Id acquire_labels(std::span<const std::uint32_t> words);
  SequencePool::Id acquire_profiles(std::span<const std::string> names);
  SequencePool::Id acquire_ports(std::span<const EndpointPort> ports);
  void release_labels(SequencePool::Id id);
  void release_names(std::span<const std::uint32_t> words);
  void release_profiles(SequencePool::Id id);
  void release_ports(SequencePool::Id id);
  void set_places(MemberId id, std::span<const Prefix> nets);
  void set_place_list(MemberId id, std::span<const PlaceId> places);
  void join_profile_list(MemberId id);
  void leave_profile_list(MemberId id);
  void touch(MemberId id);
  void note_list(SequencePool::Id list, bool has_members);
  void touch_heirs(StringPool::Id profile);
  void replace_profile_labels(std::string_view profile, SequencePool::Id labels);

  void deactivate(AtomId id);
  void activate(AtomId id, const Atom& atom);
  void watch_labels(const Selector& selector, bool watch);
  void ask_looks();
  void add_look(const Entry& member, std::vector<std::uint32_t>& words);
  SequencePool::Id acquire_look(std::span<const std::uint32_t> words);
  void release_look(SequencePool::Id look);
  void view_look(std::span<const std::uint32_t> look, LabelView& view) const;
  void settle(MemberId id, std::span<const std::uint32_t> words);
  void settle_touched();
  void release_kin_use(KinId kin);
  void set_kin_sets(KinId kin);
  void count_port_sets(SignatureId sets, bool more);
  SetId port_set(AtomId atom, std::uint16_t port);

  SetSpace& sets_;
  AddressIndex& addresses_;
  ServiceIndex services_;
  StringPool strings_;
  SequencePool labels_;
  SequencePool profiles_;
  SequencePool ports_;
  SequencePool place_lists_;
  std::deque<Entry> members_;
  std::vector<MemberId> first_by_profiles_;  // shifted by one; by list of profiles
  // Lists with members that hold a profile: nearly always one.
  boost::unordered_flat_map<StringPool::Id, SequencePool::Id> list_by_profile_;
  boost::unordered_flat_map<StringPool::Id, std::vector<SequencePool::Id>> more_lists_by_profile_;
  boost::unordered_flat_map<StringPool::Id, SequencePool::Id> labels_by_profile_;

  SelectorIndex selectors_;
  std::vector<AtomState> atoms_;
  std::vector<SetId> set_by_selector_;                                           // 0: it is no set
  boost::unordered_flat_map<std::uint64_t, std::vector<AtomId>> atoms_by_port_;  // name << 8 | protocol
  boost::unordered_flat_map<SetId, std::pair<AtomId, std::uint16_t>> port_by_set_;
  std::vector<std::uint32_t> watched_;  // by string id: active selectors that name this label
  SequencePool looks_;                  // name, value, … of watched labels
  PackedPool selected_;                 // selectors that match a look
  std::vector<PackedPool::Id> selected_by_look_;
  SequencePool kin_;  // look, ports
  std::vector<SignatureId> kin_sets_;

  std::vector<MemberId> touched_;
  std::vector<SelectorIndex::Id> new_selectors_;
  std::vector<SelectorIndex::Id> gone_selectors_;
  std::vector<AtomId> changed_ports_;
  std::vector<std::uint32_t> scratch_;
  std::vector<SelectorIndex::Id> matched_;
  std::vector<SetId> kin_scratch_;
  LabelView view_;
  std::vector<Prefix> wanted_;
  bool watched_changed_ = false;
  bool sets_changed_ = false;
};

// Sorts the pairs that lie one after the other from there on, and drops repetitions.
void sort_pairs(std::vector<std::uint32_t>& words, std::size_t from = 0);

}  // namespace ocicat::policy
