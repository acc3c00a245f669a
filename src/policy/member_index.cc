#include "policy/member_index.h"

#include <algorithm>
#include <utility>

#include "base/result.h"

namespace ocicat::policy {

void sort_pairs(std::vector<std::uint32_t>& words, std::size_t from) {
  // By insertion: the lists are short.
  std::size_t end = from;
  for (std::size_t i = from; i < words.size(); i += 2) {
    const auto first = words[i];
    const auto second = words[i + 1];
    auto at = end;
    while (at > from && std::pair{words[at - 2], words[at - 1]} > std::pair{first, second}) at -= 2;
    if (at > from && words[at - 2] == first && words[at - 1] == second) continue;
    for (auto j = end; j > at; j -= 2) {
      words[j] = words[j - 2];
      words[j + 1] = words[j - 1];
    }
    words[at] = first;
    words[at + 1] = second;
    end += 2;
  }
  words.resize(end);
}

MemberIndex::MemberIndex(SetSpace& sets, AddressIndex& addresses)
    : sets_(sets), addresses_(addresses), services_(sets, addresses), selected_by_look_(1) {}

// --- members as they are handed in ---

// The words of a list of labels; its names are in use.
std::span<const std::uint32_t> MemberIndex::words_of(const Labels& labels) {
  scratch_.clear();
  for (const auto& [name, value] : labels) append_label(strings_.acquire(name), value, scratch_);
  return scratch_;
}

SequencePool::Id MemberIndex::acquire_labels(std::span<const std::uint32_t> words) {
  const auto [id, is_new] = labels_.acquire(words);
  if (!is_new) release_names(words);
  return id;
}

void MemberIndex::release_labels(SequencePool::Id id) {
  if (labels_.users(id) == 1) release_names(labels_[id]);
  labels_.release(id);
}

void MemberIndex::release_names(std::span<const std::uint32_t> words) {
  for_each_label(words, [this](const ListedLabel& label) { strings_.release(label.name); });
}

SequencePool::Id MemberIndex::acquire_profiles(std::span<const std::string> names) {
  std::vector<std::uint32_t> words;
  for (const auto& name : names) {
    const auto word = strings_.acquire(name);
    if (std::ranges::find(words, word) == words.end()) {
      words.push_back(word);
    } else {
      strings_.release(word);  // a second mention adds nothing
    }
  }
  const auto [id, is_new] = profiles_.acquire(words);
  if (!is_new) {
    for (const auto word : words) strings_.release(word);
  }
  return id;
}

void MemberIndex::release_profiles(SequencePool::Id id) {
  if (profiles_.users(id) == 1) {
    for (const auto word : profiles_[id]) strings_.release(word);
  }
  profiles_.release(id);
}

SequencePool::Id MemberIndex::acquire_ports(std::span<const EndpointPort> ports) {
  std::vector<std::uint32_t> words;
  for (const auto& port : ports) {
    words.push_back(strings_.acquire(port.name));
    words.push_back(std::uint32_t{port.protocol} << 16 | port.port);
  }
  const auto given = words;
  sort_pairs(words);
  const auto [id, is_new] = ports_.acquire(words);
  if (is_new) {
    for (std::size_t i = 0; i < words.size(); i += 2) strings_.retain(words[i]);
  }
  for (std::size_t i = 0; i < given.size(); i += 2) strings_.release(given[i]);
  return id;
}

void MemberIndex::release_ports(SequencePool::Id id) {
  if (ports_.users(id) == 1) {
    for (std::size_t i = 0; i < ports_[id].size(); i += 2) strings_.release(ports_[id][i]);
  }
  ports_.release(id);
}

void MemberIndex::set_place_list(MemberId id, std::span<const PlaceId> places) {
  auto& member = members_[id];
  place_lists_.release(member.places);
  member.place = places.size() == 1 ? places.front() : 0;
  member.places = places.size() > 1 ? place_lists_.acquire(places).id : 0;
}

void MemberIndex::set_places(MemberId id, std::span<const Prefix> nets) {
  wanted_.clear();
  for (const auto& net : nets) wanted_.push_back(net.masked());
  if (!std::ranges::is_sorted(wanted_)) std::ranges::sort(wanted_);
  wanted_.erase(std::ranges::unique(wanted_).begin(), wanted_.end());
  const auto current = places(id);
  if (std::ranges::equal(current, wanted_, {}, [this](PlaceId place) { return addresses_.prefix(place); }))
    return;
  // New ones first, so that a place that stays is not dropped in between. Both lists are ascending by prefix.
  std::vector<PlaceId> now;
  now.reserve(wanted_.size());
  std::vector<PlaceId> gone;
  auto known = current.begin();
  const auto pass = [&](const Prefix* until) {
    while (known != current.end() && (until == nullptr || addresses_.prefix(*known) < *until)) {
      gone.push_back(*known++);
    }
  };
  for (const auto& net : wanted_) {
    pass(&net);
    if (known != current.end() && addresses_.prefix(*known) == net) {
      now.push_back(*known++);
    } else {
      now.push_back(addresses_.attach(net, id));
    }
  }
  pass(nullptr);
  for (const auto place : gone) addresses_.detach(place, id);
  set_place_list(id, now);
}

void MemberIndex::join_profile_list(MemberId id) {
  auto& member = members_[id];
  if (first_by_profiles_.size() <= member.profiles) first_by_profiles_.resize(member.profiles + 1);
  auto& first = first_by_profiles_[member.profiles];
  if (first == 0) note_list(member.profiles, true);
  member.previous = 0;
  member.next = first;
  if (first != 0) members_[first - 1].previous = id + 1;
  first = id + 1;
}

void MemberIndex::leave_profile_list(MemberId id) {
  auto& member = members_[id];
  (member.previous == 0 ? first_by_profiles_[member.profiles] : members_[member.previous - 1].next) =
      member.next;
  if (member.next != 0) members_[member.next - 1].previous = member.previous;
  if (first_by_profiles_[member.profiles] == 0) note_list(member.profiles, false);
}

// A list of profiles that has members now, or has none any more.
void MemberIndex::note_list(SequencePool::Id list, bool has_members) {
  for (const auto profile : profiles_[list]) {
    auto& first = list_by_profile_[profile];
    if (has_members) {
      if (first == 0) {
        first = list;
      } else if (first != list) {
        more_lists_by_profile_[profile].push_back(list);
      }
      continue;
    }
    const auto more = more_lists_by_profile_.find(profile);
    if (more == more_lists_by_profile_.end()) {
      list_by_profile_.erase(profile);
      continue;
    }
    if (first == list) {
      first = more->second.back();
      more->second.pop_back();
    } else {
      std::erase(more->second, list);
    }
    if (more->second.empty()) more_lists_by_profile_.erase(more);
  }
}

void MemberIndex::touch(MemberId id) {
  auto& member = members_[id];
  if (member.touched) return;
  member.touched = true;
  touched_.push_back(id);
}

void MemberIndex::expect(MemberId id, int step) const {
  if (id >= members_.size()) return;
  const auto& member = members_[id];
  if (step == 0) return __builtin_prefetch(&member);
  if (!member.present) return;
  if (step == 1) {
    labels_.expect_entry(member.labels);
    addresses_.expect(member.place);
  } else if (step == 2) {
    labels_.expect_items(member.labels);
  } else {
    labels_.expect_slot(member.labels);
  }
}

void MemberIndex::set(MemberId id, const MemberView& view) {
  while (members_.size() <= id) members_.emplace_back();
  auto& member = members_[id];
  const auto words = words_of(view.labels);
  labels_.expect(words);
  const auto profiles = acquire_profiles(view.profiles);
  const auto ports = acquire_ports(view.ports);
  const auto labels = acquire_labels(words);
  if (member.present) {
    leave_profile_list(id);
    release_labels(member.labels);
    release_profiles(member.profiles);
    release_ports(member.ports);
  }
  const bool same =
      member.present && member.labels == labels && member.profiles == profiles && member.ports == ports;
  member.present = true;
  member.labels = labels;
  member.profiles = profiles;
  member.ports = ports;
  join_profile_list(id);
  set_places(id, view.nets);
  if (!same) touch(id);
}

void MemberIndex::remove(MemberId id) {
  auto& member = members_[id];
  if (!member.present) return;
  leave_profile_list(id);
  set_places(id, {});
  release_labels(member.labels);
  release_profiles(member.profiles);
  release_ports(member.ports);
  member.labels = member.profiles = member.ports = 0;
  member.present = false;
  touch(id);
}

// --- what members inherit ---

void MemberIndex::touch_heirs(StringPool::Id profile) {
  const auto touch_list = [this](SequencePool::Id list) {
    for (auto at = first_by_profiles_[list]; at != 0; at = members_[at - 1].next) touch(at - 1);
  };
  const auto first = list_by_profile_.find(profile);
  if (first == list_by_profile_.end()) return;
  touch_list(first->second);
  if (const auto more = more_lists_by_profile_.find(profile); more != more_lists_by_profile_.end())
    std::ranges::for_each(more->second, touch_list);
}

void MemberIndex::replace_profile_labels(std::string_view profile, SequencePool::Id labels) {
  const auto name = strings_.acquire(profile);
  const auto [it, is_new] = labels_by_profile_.emplace(name, 0);
  if (it->second != labels) touch_heirs(name);
  release_labels(it->second);
  it->second = labels;
  if (!is_new) strings_.release(name);
  if (labels != 0) return;
  labels_by_profile_.erase(name);
  strings_.release(name);
}

void MemberIndex::set_profile_labels(std::string_view profile, const Labels& labels) {
  replace_profile_labels(profile, acquire_labels(words_of(labels)));
}

void MemberIndex::remove_profile_labels(std::string_view profile) {
  replace_profile_labels(profile, 0);
}

void MemberIndex::view_labels(MemberId id, LabelView& view) const {
  view.clear();
  const auto add = [&](SequencePool::Id list) {
    for_each_label(labels_[list],
                   [&](const ListedLabel& label) { view.add(strings_[label.name], label.value); });
  };
  add(members_[id].labels);
  for (const auto profile : profiles_[members_[id].profiles]) {
    if (const auto it = labels_by_profile_.find(profile); it != labels_by_profile_.end()) add(it->second);
  }
}

}  // namespace ocicat::policy
