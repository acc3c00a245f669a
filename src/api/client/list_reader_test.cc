#include "api/client/list_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>

#include <vector>

namespace ocicat::api {
namespace {

namespace json = boost::json;
using testing::ElementsAre;
using testing::HasSubstr;

struct Read {
  std::vector<std::string> names;
  Result<std::string> version;
};

Read read(std::string_view text, std::size_t piece = 1'000'000) {
  ListReader reader(Kind::kTier);
  Read all;
  for (; !text.empty(); text.remove_prefix(std::min(piece, text.size()))) {
    const auto fed = reader.feed(text.substr(0, piece), [&](const json::object& item) {
      const auto* name = item.if_contains("name");
      all.names.emplace_back(name == nullptr ? "" : name->as_string().c_str());
    });
    if (fed) continue;
    all.version = std::unexpected(fed.error());
    return all;
  }
  all.version = reader.end();
  return all;
}

constexpr std::string_view kList =
    R"( { "kind" : "TierList", "metadata": {"resourceVersion":"7","remainingItemCount":3}, "items": [
      {"name":"a\"]}\\","spec":{"of":[1,{"b":"}"}]}} , {"name":"\u00e4ü"},{"name":""} ] , "count":12.5e1,"more":null } )";

TEST(ListReader, ReadsTheSameWhereverTheTextIsCut) {
  for (std::size_t piece = 1; piece <= kList.size(); ++piece) {
    const auto all = read(kList, piece);
    EXPECT_THAT(all.names, ElementsAre("a\"]}\\", "äü", "")) << piece;
    EXPECT_EQ(all.version, "7") << piece;
  }
}

TEST(ListReader, TakesNoPartOfAListForAList) {
  for (std::size_t size = 0; size + 2 < kList.size(); ++size) {
    const auto all = read(kList.substr(0, size));
    ASSERT_FALSE(all.version) << size;
    EXPECT_EQ(all.version.error().code, ErrorCode::kUnavailable);
  }
}

TEST(ListReader, MembersMayComeInAnyOrderAndItemsMayBeNone) {
  EXPECT_EQ(read(R"({"items":[],"metadata":{"resourceVersion":"8"}})").version, "8");
  EXPECT_EQ(read(R"({"items":null,"metadata":{"resourceVersion":"8"}})").version, "8");
  const auto late = read(R"({"items":[{"name":"a"}],"metadata":{"resourceVersion":"8"}})");
  EXPECT_THAT(late.names, ElementsAre("a"));
  EXPECT_EQ(late.version, "8");
}

TEST(ListReader, CompletesItemsWithWhatTheListSays) {
  ListReader reader(Kind::kPod);
  std::vector<std::string> items;
  const auto fed = reader.feed(R"({"metadata":{"resourceVersion":"1"},"items":[{},{"kind":"Odd"}]})",
                               [&](const json::object& item) { items.push_back(json::serialize(item)); });
  ASSERT_TRUE(fed) << fed.error().message;
  EXPECT_THAT(items,
              ElementsAre(R"({"apiVersion":"v1","kind":"Pod"})", R"({"kind":"Odd","apiVersion":"v1"})"));
}

TEST(ListReader, SaysWhatIsNoList) {
  const std::string deep(200, '[');
  for (const auto& text : std::vector<std::string>{
           R"([])",
           R"(7)",
           R"({"metadata":{"resourceVersion":"1"}})",
           R"({"items":[]})",
           R"({"metadata":{"resourceVersion":""},"items":[]})",
           R"({"metadata":{"resourceVersion":7},"items":[]})",
           R"({"metadata":[],"items":[]})",
           R"({"metadata":{"resourceVersion":"1"},"items":{}})",
           R"({"metadata":{"resourceVersion":"1"},"items":[7]})",
           R"({"metadata":{"resourceVersion":"1"},"items":[{},]})",
           R"({"metadata":{"resourceVersion":"1"},"items":[,]})",
           R"({"metadata":{"resourceVersion":"1"},"items":[{}{}]})",
           R"({"metadata":{"resourceVersion":"1"},"items":[{}],})",
           R"({"metadata":{"resourceVersion":"1"},"items":[{}]}x)",
           R"({"metadata":{"resourceVersion":"1"},"items":[{}],"items":[]})",
           R"({"metadata":{"resourceVersion":"1"},"items":[{]})",
           R"({"metadata":{"resourceVersion":"1"} "items":[]})",
           R"({metadata:{}})",
           R"({"a" 1})",
           "<html>",
           "{\"items\":[{\"a\":\"\xff\"}]}",
           R"({"items":[{"a":)" + deep,
       }) {
    const auto all = read(text);
    ASSERT_FALSE(all.version) << text;
    EXPECT_EQ(all.version.error().code, ErrorCode::kUnavailable) << text;
    EXPECT_THAT(all.version.error().message, HasSubstr("did not answer with a list")) << text;
  }
}

TEST(ListReader, AnItemHasABoundAndAListHasNone) {
  ListReader reader(Kind::kTier);
  std::size_t count = 0;
  const auto on_item = [&](const json::object&) { ++count; };
  const std::string item = R"({"a":")" + std::string(1'000'000, 'x') + R"("})";
  ASSERT_TRUE(reader.feed(R"({"metadata":{"resourceVersion":"1"},"items":[)", on_item));
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(reader.feed(item + ",", on_item));
  EXPECT_EQ(count, 50U);
  ASSERT_TRUE(reader.feed(R"({"a":")", on_item));
  const std::string more(1'000'000, 'x');
  Result<void> fed;
  for (int i = 0; i < 50 && fed; ++i) fed = reader.feed(more, on_item);
  ASSERT_FALSE(fed);
  EXPECT_EQ(fed.error().code, ErrorCode::kExhausted);
}

}  // namespace
}  // namespace ocicat::api
