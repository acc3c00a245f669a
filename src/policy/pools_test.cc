// IdIndex, SequencePool, PackedPool, StringPool, KeyPool, IdRegistry: things kept once and counted.
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <map>

#include "policy/id_index.h"
#include "policy/id_registry.h"
#include "policy/key_pool.h"
#include "policy/packed_pool.h"
#include "policy/sequence_pool.h"
#include "policy/string_pool.h"
#include "test/support/random.h"

namespace ocicat::policy {
namespace {

using List = std::vector<std::uint32_t>;

TEST(IdIndex, FindsJustWhatIsInItThroughAnyHistory) {
  test::Random random(1);
  for (const std::uint64_t hashes : {1UL, 5UL, 300UL, 1'000'000UL}) {  // from all alike to hardly any
    SCOPED_TRACE(hashes);
    IdIndex index;
    std::map<IdIndex::Id, std::uint32_t> held;  // and its hash
    for (int step = 0; step < 20'000; ++step) {
      const auto id = static_cast<IdIndex::Id>(1 + random.below(300));
      const auto hash =
          static_cast<std::uint32_t>((id * 0x9e3779b97f4a7c15ULL >> 32) % hashes * (0xffffffffULL / hashes));
      const auto found = index.find(hash, [&](IdIndex::Id one) { return one == id; });
      ASSERT_EQ(found, held.contains(id) ? id : 0);
      if (held.contains(id)) {
        index.erase(hash, id);
        held.erase(id);
      } else {
        index.insert(hash, id);
        held.emplace(id, hash);
      }
      ASSERT_EQ(index.size(), held.size());
    }
    for (const auto& [id, hash] : held)
      ASSERT_EQ(index.find(hash, [&](IdIndex::Id one) { return one == id; }), id);
  }
}

TEST(SequencePool, EqualListsHaveOneIdUntilTheirLastUserGoes) {
  SequencePool pool;
  const auto first = pool.acquire(List{1, 2, 3});
  const auto again = pool.acquire(List{1, 2, 3});
  EXPECT_TRUE(first.is_new);
  EXPECT_FALSE(again.is_new);
  EXPECT_EQ(first.id, again.id);
  EXPECT_NE(pool.acquire(List{1, 2}).id, first.id);
  EXPECT_FALSE(pool.release(first.id));
  EXPECT_TRUE(pool.release(first.id));
  EXPECT_EQ(pool.find(List{1, 2, 3}), 0U);
  EXPECT_EQ(pool.size(), 1U);
}

TEST(SequencePool, TheEmptyListIsAlwaysThereAndNeverCounted) {
  SequencePool pool;
  EXPECT_EQ(pool.acquire({}).id, 0U);
  EXPECT_FALSE(pool.release(0));
  EXPECT_TRUE(pool[0].empty());
}

TEST(SequencePool, KeepsWhatItWasGivenThroughAnyHistory) {
  test::Random random(1);
  SequencePool pool;
  std::vector<std::pair<SequencePool::Id, List>> held;
  for (int step = 0; step < 20'000; ++step) {
    if (held.empty() || random.percent(55)) {
      List list(random.percent(5) ? random.below(600) : random.below(6));
      for (auto& item : list) item = static_cast<std::uint32_t>(random.below(4));
      held.emplace_back(pool.acquire(list).id, list);
    } else {
      std::swap(held[random.below(held.size())], held.back());
      const auto items = pool[held.back().first];
      ASSERT_EQ(List(items.begin(), items.end()), held.back().second);
      pool.release(held.back().first);
      held.pop_back();
    }
  }
  for (const auto& [id, list] : held) pool.release(id);
  EXPECT_EQ(pool.size(), 0U);
}

List ascending(test::Random& random) {
  List list;
  std::uint32_t next = 1;
  for (auto left = random.below(60); left > 0; --left) {
    next += 1 + static_cast<std::uint32_t>(random.below(random.percent(5) ? 5'000 : 3));
    list.push_back(next);
  }
  return list;
}

TEST(PackedPool, GivesBackWhatItWasGivenAndWhatListsHaveInCommon) {
  for (std::uint64_t seed = 0; seed < 1'000; ++seed) {
    SCOPED_TRACE(seed);
    test::Random random(seed);
    PackedPool pool;
    const auto one = ascending(random), other = ascending(random);
    const auto one_id = pool.acquire(one).id, other_id = pool.acquire(other).id;
    ASSERT_EQ(pool[one_id], one);
    EXPECT_EQ(pool.find(one), one_id);
    List both;
    std::ranges::set_intersection(one, other, std::back_inserter(both));
    std::vector<std::uint8_t> packed;
    pool.append_common(one_id, other_id, packed);
    const auto common = pool.acquire_packed(packed);
    EXPECT_EQ(pool[common.id], both);
    EXPECT_EQ(pool.acquire(both).id, common.id);
  }
}

TEST(PackedPool, TakesABitForANumberAndAByteForEightOfThemWhereNoneIsFar) {
  PackedPool pool;
  List numbers;
  for (std::uint32_t number = 0; number < 1'000; number += 2) numbers.push_back(number);
  EXPECT_EQ(pool.packed_size(pool.acquire(numbers).id), 250U);
  EXPECT_EQ(pool.packed_size(pool.acquire(List{7, 100'000}).id), 5U);
}

TEST(StringPool, EqualTextsHaveOneIdUntilTheirLastUserGoes) {
  StringPool pool;
  const auto id = pool.acquire("role");
  EXPECT_EQ(pool.acquire("role"), id);
  EXPECT_EQ(pool[id], "role");
  EXPECT_FALSE(pool.release(id));
  EXPECT_TRUE(pool.release(id));
  EXPECT_EQ(pool.find("role"), 0U);
  EXPECT_EQ(pool.size(), 0U);
}

TEST(KeyPool, TellsKeysApartAndGivesThemBack) {
  KeyPool pool;
  const std::vector<ResourceKey> keys{{Kind::kPod, "shop", "api"},   {Kind::kPod, "sho", "papi"},
                                      {Kind::kPod, "", "shopapi"},   {Kind::kWorkloadEndpoint, "shop", "api"},
                                      {Kind::kPod, "shop", "api-1"}, {Kind::kPod, "", ""}};
  std::vector<KeyPool::Id> ids;
  for (const auto& key : keys) ids.push_back(pool.acquire(key).id);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    EXPECT_EQ(pool[ids[i]], keys[i]);
    EXPECT_EQ(pool.find(keys[i]), ids[i]);
  }
  EXPECT_EQ(pool.size(), keys.size());
}

Digest meaning(int number) {
  return Digest::of(std::to_string(number));
}

TEST(IdRegistry, AnIdIsUsedAgainOnlyWhenManyOthersBecameFreeAfterIt) {
  IdRegistry registry({});
  const auto first = registry.take(IdSpace::kClass, meaning(0));
  EXPECT_EQ(first, 1U);
  EXPECT_TRUE(registry.release(IdSpace::kClass, first));
  int number = 0;
  for (std::size_t others = 0; others < IdRegistry::kRest; ++others) {
    registry.end_batch();
    const auto id = registry.take(IdSpace::kClass, meaning(++number));
    ASSERT_NE(id, first);
    registry.release(IdSpace::kClass, id);
  }
  registry.end_batch();
  EXPECT_EQ(registry.take(IdSpace::kClass, meaning(++number)), first);
}

TEST(IdRegistry, IdsStayDenseHoweverManyComeAndGo) {
  IdRegistry registry({});
  std::uint32_t highest = 0;
  for (int number = 0; number < 5'000; ++number) {
    const auto id = registry.take(IdSpace::kClass, meaning(number));
    highest = std::max(highest, id);
    registry.release(IdSpace::kClass, id);
    registry.end_batch();
  }
  EXPECT_LE(highest, IdRegistry::kRest + 1);
}

TEST(IdRegistry, SpacesDoNotShareIds) {
  IdRegistry registry({});
  EXPECT_EQ(registry.take(IdSpace::kClass, meaning(1)), 1U);
  EXPECT_EQ(registry.take(IdSpace::kTable, meaning(1)), 1U);
}

TEST(IdRegistry, AdoptedIdsGoToTheirMeaningsAndToNobodyElseInTheFirstBatch) {
  const Dictionary adopted{{{IdSpace::kTable, meaning(1)}, 1},
                           {{IdSpace::kTable, meaning(5)}, 5},
                           {{IdSpace::kTable, meaning(3)}, 3}};
  IdRegistry registry(adopted);
  EXPECT_EQ(registry.take(IdSpace::kTable, meaning(10)), 2U);
  EXPECT_EQ(registry.take(IdSpace::kTable, meaning(5)), 5U);
  // 4 was passed over: it rests as all that become free, and as the ids that nobody asks for.
  EXPECT_EQ(registry.take(IdSpace::kTable, meaning(11)), 6U);
  EXPECT_EQ(registry.take(IdSpace::kTable, meaning(12)), 7U);
  auto dictionary = adopted;
  registry.end_batch().apply_to(dictionary);
  EXPECT_EQ(dictionary.size(), 4U);
  EXPECT_FALSE(dictionary.contains({IdSpace::kTable, meaning(3)}));
  EXPECT_EQ(registry.take(IdSpace::kTable, meaning(13)), 8U);
}

TEST(IdRegistry, TheDictionaryIsWhatItsChangesLeadTo) {
  test::Random random(7);
  IdRegistry registry({});
  Dictionary dictionary;
  std::map<int, std::uint32_t> held;
  for (int step = 0; step < 2'000; ++step) {
    const auto number = static_cast<int>(random.below(40));
    if (const auto it = held.find(number); it != held.end()) {
      registry.release(IdSpace::kOutcome, it->second);
      held.erase(it);
    } else {
      held[number] = registry.take(IdSpace::kOutcome, meaning(number));
    }
    if (!random.percent(20)) continue;
    registry.end_batch().apply_to(dictionary);
    ASSERT_EQ(dictionary.size(), held.size());
    for (const auto& [key, id] : held) ASSERT_EQ(dictionary.at({IdSpace::kOutcome, meaning(key)}), id);
  }
}

}  // namespace
}  // namespace ocicat::policy
