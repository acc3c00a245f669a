#include "policy/selector_index.h"

#include <gtest/gtest.h>

#include <set>

#include "test/support/random_rules.h"

namespace ocicat::policy {
namespace {

TEST(SelectorIndex, MatchesExactlyTheSelectorsThatAskingEachGives) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    test::Random random(seed);
    SelectorIndex index;
    std::multiset<SelectorIndex::Id> users;
    for (int step = 0; step < 40; ++step) {
      if (!users.empty() && random.percent(30)) {
        const auto it = std::next(users.begin(), static_cast<std::ptrdiff_t>(random.below(users.size())));
        const auto id = *it;
        users.erase(it);
        ASSERT_EQ(index.remove(id), !users.contains(id));
      } else if (const auto selector = Selector::parse(test::random_selector(random))) {
        users.insert(index.add(*selector).id);
      }
      std::map<std::string, std::string> labels;
      for (const auto& name : test::names::kLabels) {
        if (random.percent(60)) labels[name] = random.pick(test::names::kValues);
      }
      LabelView view;
      for (const auto& [name, value] : labels) view.add(name, value);
      std::vector<SelectorIndex::Id> matched;
      index.match(view, matched);
      std::vector<SelectorIndex::Id> expected;
      for (const auto id : std::set(users.begin(), users.end())) {
        if (index[id].matches(view)) expected.push_back(id);
      }
      ASSERT_EQ(matched, expected) << "seed " << seed << " step " << step;
    }
  }
}

TEST(SelectorIndex, ListedValuesAreMetByTheValueAndAskedForTheRestAlone) {
  SelectorIndex index;
  const auto listed = index.add(*Selector::parse("has(c) && a in {'1', '2'} && b != 'x'")).id;
  const auto alone = index.add(*Selector::parse("a in {'2', '3'}")).id;
  const auto twice = index.add(*Selector::parse("a in {'1', '2', '3'} && a in {'2', '3', '4'}")).id;
  const auto either = index.add(*Selector::parse("a in {'1', '2'} || b in {'1', '2'}")).id;
  const auto matched = [&](const std::vector<LabelView::Label>& labels) {
    LabelView view;
    for (const auto& [name, value] : labels) view.add(name, value);
    std::vector<SelectorIndex::Id> ids;
    index.match(view, ids);
    return std::set(ids.begin(), ids.end());
  };
  using Ids = std::set<SelectorIndex::Id>;
  EXPECT_EQ(matched({{"a", "2"}, {"c", ""}}), (Ids{listed, alone, twice, either}));
  EXPECT_EQ(matched({{"a", "2"}}), (Ids{alone, twice, either}));
  EXPECT_EQ(matched({{"a", "1"}, {"c", ""}, {"b", "x"}}), (Ids{either}));
  EXPECT_EQ(matched({{"a", "4"}, {"b", "1"}}), (Ids{either}));
  EXPECT_EQ(matched({{"a", "9"}, {"a", "2"}}), Ids{});  // the first counts
  index.remove(alone);
  EXPECT_EQ(matched({{"a", "3"}}), Ids{twice});
}

TEST(SelectorIndex, OneCanonicalTextIsOneSelector) {
  SelectorIndex index;
  const auto first = index.add(*Selector::parse("a == 'b' && has(c)"));
  const auto second = index.add(*Selector::parse("  (a=='b'&&has(c))"));
  EXPECT_EQ(first.id, second.id);
  EXPECT_FALSE(second.is_new);
  EXPECT_FALSE(index.remove(first.id));
  EXPECT_TRUE(index.remove(first.id));
  EXPECT_EQ(index.size(), 0U);
}

TEST(LabelView, OfTwoLabelsWithOneNameTheFirstCounts) {
  const std::string name = "a", first = "1", second = "2";
  LabelView view;
  view.add(name, first);
  view.add(name, second);
  EXPECT_EQ(view.find("a"), first);
  EXPECT_EQ(view.find("b"), std::nullopt);
}

TEST(SelectorIndex, ManyThatMatchComeInOrderAndEachOnce) {
  SelectorIndex index;
  std::vector<SelectorIndex::Id> wanted;
  for (int i = 0; i < 300; ++i) {
    index.add(*Selector::parse(fmt::format("has(nobody-{})", i)));
    const auto listed = fmt::format("a in {{'1', '2'}} && b != '{}'", i);
    wanted.push_back(index.add(*Selector::parse(i % 2 == 0 ? fmt::format("b != '{}'", i) : listed)).id);
  }
  LabelView view;
  view.add("a", "1");
  view.add("a", "2");
  view.add("b", "x");
  std::vector<SelectorIndex::Id> matched;
  index.match(view, matched);
  EXPECT_EQ(matched, wanted);
}

}  // namespace
}  // namespace ocicat::policy
