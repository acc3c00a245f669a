#include "policy/sweep.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "test/support/random.h"

namespace ocicat::policy {
namespace {

// The same, for a few keys and source ports one by one.
class Plain {
 public:
  Plain() {
    for (const auto key : keys()) {
      for (const auto source : sources()) open_[{key, source}] = 0;
    }
  }

  static std::vector<std::uint32_t> keys() { return {0, 1, 2, 3, 4, 5, 6, 7, 8, kLastTableKey}; }
  static std::vector<std::uint32_t> sources() { return {0, 1, 2, 3, 4, kLastSourcePort}; }

  template <class Think>
  void apply(const Rectangle& area, int fate, Think think) {
    for (auto it = open_.begin(); it != open_.end();) {
      const auto [key, source] = it->first;
      if (key < area.first || key > area.last || source < area.first_source || source > area.last_source) {
        ++it;
        continue;
      }
      const auto thought = think(it->second);
      if (fate == 1) {
        it->second = thought;
        ++it;
        continue;
      }
      (fate == 0 ? decided_ : aside_)[it->first] = thought;
      it = open_.erase(it);
    }
  }
  void reopen() { open_.merge(aside_); }
  const std::map<std::pair<std::uint32_t, std::uint32_t>, ThoughtId>& decided() const { return decided_; }

 private:
  std::map<std::pair<std::uint32_t, std::uint32_t>, ThoughtId> open_, aside_, decided_;
};

ThoughtId look_up(const std::vector<Cell>& cells, std::uint32_t key, std::uint32_t source) {
  for (const auto& cell : cells) {
    if (key < cell.first || key > cell.last) continue;
    if (cell.by_source.empty()) return cell.thought;
    for (const auto& part : cell.by_source) {
      if (source >= part.first && source <= part.last) return part.thought;
    }
  }
  ADD_FAILURE() << "nothing at " << key << ", " << source;
  return 0;
}

Rectangle random_area(test::Random& random) {
  Rectangle area;
  const auto keys = Plain::keys();
  const auto sources = Plain::sources();
  area.first = random.pick(keys);
  area.last = std::max(area.first, random.pick(keys));
  if (random.percent(40)) {
    area.first_source = random.pick(sources);
    area.last_source = std::max(area.first_source, random.pick(sources));
  }
  return area;
}

// One area, or one cut in two.
std::vector<Rectangle> parts_of(const Rectangle& area, test::Random& random) {
  auto left = area;
  auto right = area;
  if (random.percent(40) && area.first < area.last) {
    left.last = area.first;
    right.first = area.first + 1;
  } else if (random.percent(40) && area.first_source < area.last_source) {
    left.last_source = area.first_source;
    right.first_source = area.first_source + 1;
  } else {
    return {area};
  }
  return {left, right};
}

TEST(Sweep, GivesWhatDecidingEachPacketOnItsOwnGives) {
  for (std::uint64_t seed = 1; seed <= 2000; ++seed) {
    test::Random random(seed);
    const KeyRange where = random.percent(30) ? KeyRange{1, 6} : KeyRange{0, kLastTableKey};
    const KeyRange window = random.percent(30) ? KeyRange{1, 3} : KeyRange{0, kLastSourcePort};
    Sweep sweep(0, {where}, window);
    Plain plain;
    ThoughtId next = 1;
    for (int step = 0; step < 12; ++step) {
      const auto areas = parts_of(random_area(random), random);
      // A new thought for each old one, the same for both.
      std::map<ThoughtId, ThoughtId> thoughts;
      const auto think = [&](ThoughtId before) {
        const auto [it, is_new] = thoughts.emplace(before, next);
        if (is_new) ++next;
        return it->second;
      };
      const auto fate = static_cast<int>(random.below(3));
      if (fate == 0) sweep.decide(areas, think);
      if (fate == 1) sweep.note(areas, think);
      if (fate == 2) sweep.set_aside(areas, think);
      for (const auto& area : areas) plain.apply(area, fate, think);
      if (!random.percent(20)) continue;
      sweep.reopen();
      plain.reopen();
    }
    sweep.reopen();
    plain.reopen();
    const Rectangle all{0, kLastTableKey};
    sweep.decide_rest([](ThoughtId before) { return before + 1000; });
    plain.apply(all, 0, [](ThoughtId before) { return before + 1000; });
    const auto cells = sweep.take_cells();
    ASSERT_EQ(cells.front().first, where.first) << "seed " << seed;
    ASSERT_EQ(cells.back().last, where.last) << "seed " << seed;
    for (const auto& [at, thought] : plain.decided()) {
      if (at.first < where.first || at.first > where.last || at.second < window.first ||
          at.second > window.last)
        continue;
      ASSERT_EQ(look_up(cells, at.first, at.second), thought) << "seed " << seed << " key " << at.first;
    }
    for (std::size_t i = 1; i < cells.size(); ++i) {
      ASSERT_FALSE(cells[i - 1].same_answer(cells[i])) << "seed " << seed;
      ASSERT_EQ(cells[i - 1].last + 1, cells[i].first) << "seed " << seed;
    }
  }
}

TEST(Sweep, KeepsOneStretchWhereEverythingHasOneAnswer) {
  Sweep sweep(0);
  sweep.decide(Rectangle{10, 20}, [](ThoughtId) { return 7U; });
  sweep.decide(Rectangle{0, 15, 80, 90}, [](ThoughtId) { return 7U; });
  sweep.decide_rest([](ThoughtId) { return 7U; });
  EXPECT_TRUE(sweep.done());
  const auto cells = sweep.take_cells();
  ASSERT_EQ(cells.size(), 1U);
  EXPECT_TRUE(cells.front().by_source.empty());
}

}  // namespace
}  // namespace ocicat::policy
