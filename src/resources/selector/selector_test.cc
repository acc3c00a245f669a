#include "resources/selector/selector.h"

#include <gtest/gtest.h>
#include <boost/json.hpp>

#include <fstream>
#include <iterator>
#include <map>
#include <random>

#include "resources/selector/tokenizer.h"
#include "test/source_dir.h"
#include "test/support/random.h"

namespace ocicat {
namespace {

namespace json = boost::json;

using LabelMap = std::map<std::string, std::string, std::less<>>;

class MapLabels : public LabelSource {
 public:
  explicit MapLabels(LabelMap labels) : labels_(std::move(labels)) {}
  std::optional<std::string_view> find(std::string_view name) const override {
    const auto found = labels_.find(name);
    if (found == labels_.end()) return std::nullopt;
    return found->second;
  }

 private:
  LabelMap labels_;
};

MapLabels labels_of(const json::value& object) {
  LabelMap labels;
  for (const auto& [name, value] : object.as_object()) labels.emplace(name, value.as_string().c_str());
  return MapLabels(std::move(labels));
}

const json::array& vectors() {
  static const json::value all = [] {
    std::ifstream file(test::source_dir() / "test/conformance/selectors.json");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    return json::parse(text);
  }();
  return all.as_array();
}

std::string text_of(const json::value& vector, std::string_view field) {
  return vector.at(field).as_string().c_str();
}

// Calls `check` with each vector that has the field, as many as are known to be there.
template <class Check>
void for_each_with(std::string_view field, std::size_t expected, Check check) {
  std::size_t count = 0;
  for (const auto& vector : vectors()) {
    if (!vector.as_object().contains(field)) continue;
    SCOPED_TRACE(text_of(vector, "selector"));
    ++count;
    check(vector);
  }
  EXPECT_EQ(count, expected) << "vectors with " << field;
}

TEST(SelectorVectors, ParseExactlyWhatIsValid) {
  for_each_with("valid", 224, [](const json::value& vector) {
    const auto selector = Selector::parse(text_of(vector, "selector"));
    EXPECT_EQ(selector.has_value(), vector.at("valid").as_bool());
    const auto checked = Selector::check(text_of(vector, "selector"));
    EXPECT_EQ(checked.has_value(), selector.has_value());
    EXPECT_EQ(checked ? "" : checked.error().message, selector ? "" : selector.error().message);
    if (!selector) {
      EXPECT_TRUE(selector.error().message.starts_with("position ")) << selector.error().message;
    }
  });
}

TEST(SelectorVectors, HaveTheirCanonicalText) {
  for_each_with("canonical", 36, [](const json::value& vector) {
    EXPECT_EQ(Selector::parse(text_of(vector, "selector"))->canonical(), text_of(vector, "canonical"));
    EXPECT_EQ(Selector::parse(text_of(vector, "canonical"))->canonical(), text_of(vector, "canonical"));
  });
}

TEST(SelectorVectors, HaveTheirId) {
  for_each_with("id", 8, [](const json::value& vector) {
    EXPECT_EQ(Selector::parse(text_of(vector, "selector"))->id(), text_of(vector, "id"));
  });
}

TEST(SelectorVectors, MatchAndMismatch) {
  std::size_t matches = 0;
  std::size_t mismatches = 0;
  for_each_with("matches", 175, [&](const json::value& vector) {
    const auto selector = *Selector::parse(text_of(vector, "selector"));
    const auto again = *Selector::parse(selector.canonical());
    for (const auto& labels : vector.at("matches").as_array()) {
      EXPECT_TRUE(selector.matches(labels_of(labels))) << labels;
      EXPECT_TRUE(again.matches(labels_of(labels))) << labels;
      ++matches;
    }
    for (const auto& labels : vector.at("mismatches").as_array()) {
      EXPECT_FALSE(selector.matches(labels_of(labels))) << labels;
      EXPECT_FALSE(again.matches(labels_of(labels))) << labels;
      ++mismatches;
    }
  });
  EXPECT_EQ(matches, 50u);
  EXPECT_EQ(mismatches, 50u);
}

TEST(SelectorVectors, TakeAPrefix) {
  for_each_with("prefixed", 11, [](const json::value& vector) {
    const auto prefixed =
        Selector::parse(text_of(vector, "selector"))->with_prefix(text_of(vector.at("prefixed"), "prefix"));
    EXPECT_EQ(prefixed.canonical(), text_of(vector.at("prefixed"), "canonical"));
  });
}

TEST(SelectorVectors, RestrictLabels) {
  for_each_with("restrictions", 63, [](const json::value& vector) {
    std::map<std::string, LabelRestriction> expected;
    for (const auto& [label, stated] : vector.at("restrictions").as_object()) {
      auto& restriction = expected[label];
      const auto& fields = stated.as_object();
      restriction.present = fields.contains("present");
      restriction.absent = fields.contains("absent");
      if (!fields.contains("oneOf")) continue;
      restriction.one_of.emplace();
      for (const auto& value : fields.at("oneOf").as_array())
        restriction.one_of->insert(value.as_string().c_str());
    }
    EXPECT_EQ(Selector::parse(text_of(vector, "selector"))->restrictions(), expected);
  });
}

TEST(SelectorVectors, SplitIntoTokens) {
  for_each_with("tokens", 48, [](const json::value& vector) {
    const auto text = text_of(vector, "selector");
    Tokenizer tokenizer(text);
    json::array found;
    auto token = tokenizer.next();
    for (; token; token = tokenizer.next()) {
      json::array entry{json::string(to_string(token->kind))};
      if (token->kind == TokenKind::kLabel || token->kind == TokenKind::kString ||
          token->kind == TokenKind::kHas) {
        entry.emplace_back(json::string(token->text));
      }
      found.emplace_back(std::move(entry));
      if (token->kind == TokenKind::kEnd) break;
    }
    EXPECT_EQ(token ? json::value(found) : json::value(nullptr), vector.at("tokens"));
  });
}

TEST(Selector, TakesBlanksButNoNewline) {
  EXPECT_TRUE(Selector::parse("a\t==\t'b'"));
  EXPECT_FALSE(Selector::parse("a ==\n'b'"));
  EXPECT_FALSE(Selector::parse("a == 'b'\r"));
}

TEST(Selector, TakesKeywordsForLabelNames) {
  for (const auto* text : {"has == 'x'", "all == 'x'", "in in {'x'}", "not not in {}", "global != 'x'"}) {
    EXPECT_TRUE(Selector::parse(text)) << text;
  }
  EXPECT_FALSE(Selector::parse("has (a)"));
  EXPECT_FALSE(Selector::parse("all ()"));
}

TEST(Selector, TakesAnyCharacterOfALabelFirstAndUpTo512) {
  for (const auto* label : {"a", "Z", "0", "_", ".", "/", "-", "-a./_0"}) {
    const auto selector = Selector::parse(fmt::format("{} == 'x'", label));
    ASSERT_TRUE(selector) << label;
    EXPECT_TRUE(selector->matches(MapLabels(LabelMap{{label, "x"}}))) << label;
    EXPECT_TRUE(Selector::parse(fmt::format("has({})", label))) << label;
  }
  EXPECT_TRUE(Selector::parse(std::string(512, 'a') + " == 'x'"));
  EXPECT_FALSE(Selector::parse(std::string(513, 'a') + " == 'x'"));
  EXPECT_FALSE(Selector::parse("a:b == 'x'"));
}

TEST(Selector, HasStringsWithoutEscapesThatMayHoldTheOtherQuote) {
  const auto matches = [](const char* text, const char* value) {
    const auto selector = Selector::parse(text);
    return selector && selector->matches(MapLabels(LabelMap{{"a", value}}));
  };
  EXPECT_TRUE(matches(R"(a == "it's")", "it's"));
  EXPECT_TRUE(matches(R"(a == 'say "x"')", "say \"x\""));
  EXPECT_TRUE(matches(R"(a == 'b\n')", "b\\n"));
  EXPECT_FALSE(Selector::parse(R"(a == 'it\'s')"));
}

TEST(Selector, NegatesBeforeAndAndsBeforeOrs) {
  const auto canonical = [](const char* text) { return Selector::parse(text)->canonical(); };
  EXPECT_EQ(canonical("has(a) || has(b) && has(c)"), "(has(a) || (has(b) && has(c)))");
  EXPECT_EQ(canonical("has(a) && has(b) || has(c)"), "((has(a) && has(b)) || has(c))");
  EXPECT_EQ(canonical("!has(a) && has(b)"), "(!has(a) && has(b))");
  EXPECT_EQ(canonical("(has(a) || has(b)) && has(c)"), "((has(a) || has(b)) && has(c))");
  EXPECT_EQ(canonical("!!!has(a)"), "!has(a)");
}

TEST(Selector, RefusesWhatFollowsAWholeOne) {
  for (const auto* text : {"has(a) has(b)", "all() 'x'", "a == 'b' c", "a == 'b')", "has(a) !has(b)"}) {
    EXPECT_FALSE(Selector::parse(text)) << text;
  }
}

TEST(Selector, TakesAnEmptySetAndATrailingComma) {
  EXPECT_EQ(Selector::parse("a in {}")->canonical(), "a in {}");
  EXPECT_EQ(Selector::parse("a in {'x',}")->canonical(), "a in {\"x\"}");
  EXPECT_FALSE(Selector::parse("a in {,}"));
  EXPECT_FALSE(Selector::parse("a in {'x' 'y'}"));
  EXPECT_FALSE(Selector::parse("a in {'x',,}"));
}

TEST(Selector, NegatesTheWholeOperation) {
  const auto selector = *Selector::parse("!a == 'b'");
  EXPECT_TRUE(selector.matches(MapLabels(LabelMap{})));
  EXPECT_FALSE(selector.matches(MapLabels(LabelMap{{"a", "b"}})));
  EXPECT_EQ(Selector::parse("!(!has(a))")->canonical(), "has(a)");
}

TEST(Selector, RefusesHostileNestingWithAnError) {
  const std::string depth(100'000, '(');
  for (const auto& text :
       {depth, depth + "all()" + std::string(depth.size(), ')'), std::string(100'000, '!')}) {
    EXPECT_FALSE(Selector::parse(text));
  }
  EXPECT_TRUE(Selector::parse(std::string(100'000, '!') + "has(a)")) << "exclamation marks do not nest";
  std::string ladder = "a == 'b'";
  for (int i = 0; i < 150; ++i) ladder = "(" + ladder + " || has(x)) && has(y)";
  const auto deep = Selector::parse(ladder);
  ASSERT_FALSE(deep);
  EXPECT_NE(deep.error().message.find("nested"), std::string::npos) << deep.error().message;
}

TEST(Selector, SaysWhereAnErrorIsAndWhatWasExpected) {
  EXPECT_EQ(Selector::parse("a == b").error().message,
            "position 5: expected a string in quotes, found label b");
  EXPECT_EQ(Selector::parse("(has(a)").error().message, "position 7: expected &&, || or ), found the end");
  EXPECT_EQ(Selector::parse("a == 'x").error().message,
            "position 5: the string that begins here has no closing '");
  EXPECT_EQ(Selector::parse("\x01").error().message, "position 0: unexpected character '\\x01'");
}

TEST(Selector, RewritesAllAndGlobal) {
  const auto selector = *Selector::parse("!(all() && a == 'b' || !global()) && global()");
  EXPECT_EQ(selector.replace_all_with_has("ns").canonical(),
            "(!((has(ns) && a == \"b\") || !global()) && global())");
  EXPECT_EQ(selector.replace_global_with_not_has("ns").canonical(),
            "(!((all() && a == \"b\") || has(ns)) && !has(ns))");
  EXPECT_TRUE(selector.replace_global_with_not_has("ns").matches(MapLabels(LabelMap{})) ==
              Selector::parse(selector.replace_global_with_not_has("ns").canonical())
                  ->matches(MapLabels(LabelMap{})));
}

TEST(Selector, CombinesWithAndAndNot) {
  const auto a = Selector::label_equals("a", "x");
  const auto b = Selector::label_in("b", {"y", "z"});
  EXPECT_EQ((a && !b).canonical(), "(a == \"x\" && !b in {\"y\", \"z\"})");
  EXPECT_EQ((!(a && b)).canonical(), "!(a == \"x\" && b in {\"y\", \"z\"})");
  EXPECT_EQ((!!a), a);
  EXPECT_TRUE(Selector::all().is_all());
  EXPECT_FALSE((Selector::all() && a).is_all());
  EXPECT_EQ((a && b).label_names(), (std::set<std::string>{"a", "b"}));
}

TEST(Selector, CannotEqualAValueThatNoTextCanSay) {
  const std::string both_quotes = "'\"";
  const auto selector = Selector::label_equals("a", both_quotes);
  EXPECT_FALSE(selector.matches(MapLabels(LabelMap{{"a", both_quotes}})));
  EXPECT_EQ(*Selector::parse(selector.canonical()), selector);
  EXPECT_EQ(Selector::label_in("a", {both_quotes, "b"}).canonical(), "a in {\"b\"}");
}

TEST(Selector, RestrictsThroughNegation) {
  const LabelRestriction absent{false, true, {}};
  const LabelRestriction is_b{true, false, std::set<std::string>{"b"}};
  using Restrictions = std::map<std::string, LabelRestriction>;
  EXPECT_EQ(Selector::parse("!(has(x) || a != 'b')")->restrictions(),
            (Restrictions{{"x", absent}, {"a", is_b}}));
  EXPECT_EQ(Selector::parse("!(has(x) && has(y))")->restrictions(), Restrictions{});
  EXPECT_EQ(Selector::parse("a in {}")->restrictions(),
            (Restrictions{{"a", {true, false, std::set<std::string>{}}}}));
}

// Random text by the grammar. Labels and values are few, so that label sets hit and miss.
class RandomSelector {
 public:
  explicit RandomSelector(std::mt19937& random) : random_(random) {}

  std::string text(int depth) {
    const auto choice = depth == 0 ? 0 : pick(6);
    if (choice < 2) return operation();
    if (choice == 2) return "!" + (pick(2) == 0 ? operation() : "(" + text(depth - 1) + ")");
    if (choice == 3) return "(" + text(depth - 1) + ")";
    return text(depth - 1) + (choice == 4 ? " && " : "||") + text(depth - 1);
  }

  LabelMap labels() {
    LabelMap all;
    for (const auto* name : {"a", "b", "c"}) {
      if (pick(3) != 0) all.emplace(name, value());
    }
    return all;
  }

 private:
  int pick(int bound) { return std::uniform_int_distribution(0, bound - 1)(random_); }
  std::string label() { return std::string(1, static_cast<char>('a' + pick(3))); }
  std::string value() {
    return std::string(static_cast<std::size_t>(pick(3)), static_cast<char>('x' + pick(2)));
  }

  std::string operation() {
    switch (pick(10)) {
      case 0:
        return "all()";
      case 1:
        return "has( " + label() + ")";
      case 2:
        return label() + "!='" + value() + "'";
      case 3:
        return label() + " in {'" + value() + "', \"" + value() + "\"}";
      case 4:
        return label() + " notin {'" + value() + "'}";
      case 5:
        return label() + " contains '" + value() + "'";
      case 6:
        return label() + " startswith '" + value() + "'";
      case 7:
        return label() + " ends with '" + value() + "'";
      case 8:
        return "global()";
      default:
        return label() + " == '" + value() + "'";
    }
  }

  std::mt19937& random_;
};

bool allows(const std::map<std::string, LabelRestriction>& restrictions, const MapLabels& labels) {
  for (const auto& [name, restriction] : restrictions) {
    const auto value = labels.find(name);
    if (restriction.present && !value) return false;
    if (restriction.absent && value) return false;
    if (restriction.one_of && (!value || !restriction.one_of->contains(std::string(*value)))) return false;
  }
  return true;
}

TEST(Selector, MeansTheSameInEveryForm) {
  const auto seed = test::any_seed();
  SCOPED_TRACE(fmt::format("OCICAT_SEED={}", seed));
  std::mt19937 random(seed);
  RandomSelector some(random);
  for (int i = 0; i < 20'000; ++i) {
    const auto text = some.text(5);
    const auto selector = Selector::parse(text);
    ASSERT_TRUE(selector) << text;
    const auto again = Selector::parse(selector->canonical());
    ASSERT_TRUE(again) << selector->canonical();
    ASSERT_EQ(again->canonical(), selector->canonical());
    const auto local = selector->replace_global_with_not_has("a");
    ASSERT_EQ(*Selector::parse(local.canonical()), local) << text;
    const MapLabels labels(some.labels());
    const bool matches = selector->matches(labels);
    ASSERT_EQ(again->matches(labels), matches) << text;
    ASSERT_NE((!*selector).matches(labels), matches) << text;
    ASSERT_EQ((*selector && local).matches(labels), matches && local.matches(labels)) << text;
    if (matches) {
      ASSERT_TRUE(allows(selector->restrictions(), labels)) << text;
    }
  }
}

}  // namespace
}  // namespace ocicat
