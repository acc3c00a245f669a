#include "resources/document.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/json/serialize.hpp>

#include <string>

namespace ocicat {
namespace {

namespace json = boost::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> complaints_of(const ReadDocuments& read) {
  std::vector<std::string> lines;
  for (const auto& complaint : read.complaints) lines.push_back(complaint.to_string());
  return lines;
}

std::vector<std::string> bodies_of(const ReadDocuments& read) {
  std::vector<std::string> bodies;
  for (const auto& document : read.documents) bodies.push_back(json::serialize(document.json));
  return bodies;
}

std::string as_json(std::string_view text) {
  const auto read = read_documents(text, "f.yaml");
  if (!read.complaints.empty()) return read.complaints[0].to_string();
  return read.documents.empty() ? "nothing" : json::serialize(read.documents[0].json);
}

TEST(Document, ScalarsMeanWhatTheKubernetesToolsTakeThemFor) {
  const std::pair<const char*, const char*> kCases[] = {
      {"text", R"("text")"},
      {"true", "true"},
      {"yes", "true"},
      {"On", "true"},
      {"y", "true"},
      {"no", "false"},
      {"OFF", "false"},
      {"n", "false"},
      {"'yes'", R"("yes")"},
      {"\"on\"", R"("on")"},
      {"", "null"},
      {"~", "null"},
      {"null", "null"},
      {"'null'", R"("null")"},
      {"80", "80"},
      {"-7", "-7"},
      {"+7", "7"},
      {"'80'", R"("80")"},
      {"010", "8"},
      {"08", "8E0"},
      {"0o17", "15"},
      {"0x1F", "31"},
      {"-0b11", "-3"},
      {"1_000", "1000"},
      {"9223372036854775807", "9223372036854775807"},
      {"-9223372036854775808", "-9223372036854775808"},
      {"18446744073709551615", "18446744073709551615"},
      {"18446744073709551616", "1.8446744073709552E19"},
      {"1.5", "1.5E0"},
      {".5", "5E-1"},
      {"1e3", "1E3"},
      {"1.10", "1.1E0"},
      {"1e999", R"("1e999")"},
      {"10.0.0.1", R"("10.0.0.1")"},
      {"8000:8080", R"("8000:8080")"},
      {"12:30", R"("12:30")"},
      {"2026-01-31", R"("2026-01-31")"},
      {"-", R"([null])"},
      {"!!str 80", R"("80")"},
      {"!!int '80'", "80"},
      {"!!float 1", "1E0"},
      {"|\n    a\n    b", R"("a\nb\n")"},
      {">-\n    a\n    b", R"("a b")"},
  };
  for (const auto& [text, want] : kCases) {
    const std::string body = std::string(text) == "-" ? "a:\n-\n" : fmt::format("a: {}\n", text);
    EXPECT_EQ(as_json(body), fmt::format(R"({{"a":{}}})", want)) << text;
  }
}

TEST(Document, KeysAreTextWhateverTheyLookLike) {
  EXPECT_EQ(as_json("80: a\ntrue: b\n1.5: c\n'x y': d\n"), R"({"80":"a","true":"b","1.5":"c","x y":"d"})");
}

TEST(Document, ReadsJsonWithEscapesThatYamlDoesNotHave) {
  EXPECT_EQ(as_json(R"({"a":"x\/y \uD83D\uDE00 \u00e9 \" \\"})"), R"({"a":"x/y 😀 é \" \\"})");
  EXPECT_EQ(as_json("{\n\t\"a\": [1, -2.5, true, null, {}, []]\n}\n"), R"({"a":[1,-2.5E0,true,null,{},[]]})");
}

TEST(Document, ReadsJsonObjectsOneAfterTheOther) {
  const auto read = read_documents("{\"a\": 1}\n{\"a\": 2}\n---\n{\"a\": 3}\n", "f.json");
  EXPECT_THAT(bodies_of(read), ElementsAre(R"({"a":1})", R"({"a":2})", R"({"a":3})"));
  EXPECT_EQ(read.documents[1].line, 2);
  EXPECT_EQ(read.documents[2].line, 4);
}

TEST(Document, ReadsWhatIsAlmostJsonAsYaml) {
  EXPECT_EQ(as_json("{a: 1, 'b': [x, z,]} # a comment\n"), R"({"a":1,"b":["x","z"]})");
}

TEST(Document, KnowsTheLineOfEveryField) {
  const std::string yaml =
      "# comment\n"
      "---\n"
      "kind: Tier\n"
      "metadata:\n"
      "  labels:\n"
      "    a/b: c\n"
      "spec:\n"
      "  list:\n"
      "  - x: 1\n"
      "    w: 2\n"
      "  - {z: 3}\n";
  const auto read = read_documents(yaml, "f.yaml");
  ASSERT_EQ(read.documents.size(), 1U);
  const auto& document = read.documents[0];
  EXPECT_EQ(document.line, 3);
  EXPECT_EQ(document.line_of.at("kind"), 3);
  EXPECT_EQ(document.line_of.at("metadata.labels[\"a/b\"]"), 6);
  EXPECT_EQ(document.line_of.at("spec.list[0].w"), 10);
  EXPECT_EQ(document.line_of.at("spec.list[1].z"), 11);
}

TEST(Document, KnowsTheLineOfEveryFieldInJson) {
  const auto read =
      read_documents("\n{\n \"spec\": {\n  \"list\": [\n   {\"x\": 1},\n   2\n  ]\n }\n}\n", "f.json");
  ASSERT_EQ(read.documents.size(), 1U);
  EXPECT_EQ(read.documents[0].line, 2);
  EXPECT_EQ(read.documents[0].line_of.at("spec.list[0].x"), 5);
  EXPECT_EQ(read.documents[0].line_of.at("spec.list[1]"), 6);
}

TEST(Document, SeparatesDocumentsAndPassesOverEmptyOnes) {
  const auto read = read_documents(
      "%YAML 1.1\n---\na: 1\n---\n# nothing\n---\n\n--- # comment\na: 2\n...\n---\n~\n--- {a: 3}\n---\r\na: "
      "4\r\n",
      "f.yaml");
  EXPECT_THAT(complaints_of(read), IsEmpty());
  EXPECT_THAT(bodies_of(read), ElementsAre(R"({"a":1})", R"({"a":2})", R"({"a":3})", R"({"a":4})"));
  EXPECT_EQ(read.documents[1].line, 9);
  EXPECT_EQ(read.documents[2].line, 13);
  EXPECT_EQ(read.documents[3].line, 15);
}

TEST(Document, EmptyTextHoldsNoDocuments) {
  for (const auto* text : {"", "\n", "---", "---\n---\n", "# only a comment\n", "\xEF\xBB\xBF"}) {
    const auto read = read_documents(text, "f.yaml");
    EXPECT_TRUE(read.documents.empty() && read.complaints.empty()) << text;
  }
}

TEST(Document, AMalformedDocumentDoesNotHideTheOthers) {
  const auto read = read_documents(
      "a: 1\n"
      "---\n"
      "b: [1, 2\n"
      "c: 3\n"
      "---\n"
      "d: 4\n"
      "---\n"
      "e: 1\n"
      "\tf: 2\n"
      "---\n"
      "just text\n"
      "---\n"
      "g: 5\n",
      "f.yaml");
  EXPECT_THAT(bodies_of(read), ElementsAre(R"({"a":1})", R"({"d":4})", R"({"g":5})"));
  EXPECT_THAT(
      complaints_of(read),
      ElementsAre(
          "f.yaml:4: b: not valid YAML: did not find expected ',' or ']' while parsing a flow sequence "
          "that begins on line 3",
          HasSubstr("f.yaml:9:"),
          "f.yaml:11: \"just text\": a document must be a mapping with apiVersion, kind and metadata"));
  EXPECT_THAT(complaints_of(read)[1], HasSubstr("indent with blanks, not with tabs"));
}

TEST(Document, ComplainsAboutEveryKeyThatAppearsTwice) {
  const std::string yaml =
      "kind: Tier\nmetadata:\n  name: security\nspec:\n  order: 1\n  order: 2\nspec: {}\n";
  EXPECT_THAT(
      complaints_of(read_documents(yaml, "t.yaml")),
      ElementsAre("t.yaml:6: Tier security: spec.order: the key order appears twice; it is already on line 5",
                  "t.yaml:7: Tier security: spec: the key spec appears twice; it is already on line 5"));
  EXPECT_THAT(complaints_of(read_documents("{\"a\": 1,\n \"a\": 2}", "t.json")),
              ElementsAre("t.json:2: a: the key a appears twice; it is already on line 1"));
}

TEST(Document, ComplainsAboutWhatJsonCannotHold) {
  const std::pair<const char*, const char*> kCases[] = {
      {"a: .nan\n", "f.yaml:1: a: .nan is not a number that JSON can hold"},
      {"a: -.inf\n", "f.yaml:1: a: -.inf is not a number that JSON can hold"},
      {"a: !!binary aGk=\n", "f.yaml:1: a: the tag !binary is not supported here"},
      {"a: !mine {}\n", "f.yaml:1: a: the tag !mine is not supported"},
      {"? [x]\n: 1\n", "f.yaml:1: a key must be a word, not a list or a mapping"},
      {"~: 1\n", "f.yaml:1: a key must not be null; put it in quotes if it is meant as text"},
      {"a: *b\n", "f.yaml:1: a: the alias *b has no anchor &b before it"},
      {"a: &x\n  b: *x\n", "f.yaml:2: a.b: the alias *x has no anchor &x before it"},
  };
  for (const auto& [text, want] : kCases) {
    EXPECT_THAT(complaints_of(read_documents(text, "f.yaml")), ElementsAre(want)) << text;
  }
  EXPECT_THAT(complaints_of(read_documents("a: \"\xff\"\n", "f.yaml")),
              ElementsAre(HasSubstr("f.yaml:1: not valid text")));
}

TEST(Document, AnchorsAliasesAndMergesAreFollowed) {
  EXPECT_EQ(as_json("a: &x {p: 1, q: 2}\nb: *x\nc:\n  <<: *x\n  q: 3\nd:\n  <<: [{q: 4}, *x]\n"),
            R"({"a":{"p":1,"q":2},"b":{"p":1,"q":2},"c":{"q":3,"p":1},"d":{"q":4,"p":1}})");
  EXPECT_THAT(as_json("a:\n  <<: 3\n"), HasSubstr("`<<` must be followed by a mapping"));
}

TEST(Document, AliasesCannotBlowADocumentUp) {
  std::string yaml = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    yaml += fmt::format("a{}: &a{} [", i, i);
    for (int j = 0; j < 10; ++j) yaml += fmt::format("*a{}, ", i - 1);
    yaml += "]\n";
  }
  const auto read = read_documents(yaml + "---\nok: 1\n", "bomb.yaml");
  EXPECT_THAT(complaints_of(read), ElementsAre(HasSubstr("anchors and aliases add more than 100000 values")));
  EXPECT_THAT(bodies_of(read), ElementsAre(R"({"ok":1})"));
}

TEST(Document, DepthIsBounded) {
  const std::string deep = "a: " + std::string(100'000, '[');
  EXPECT_THAT(complaints_of(read_documents(deep, "f.yaml")),
              ElementsAre(HasSubstr("nested deeper than 64 levels")));
  EXPECT_THAT(complaints_of(read_documents("{\"a\":" + std::string(100'000, '['), "f.json")),
              ElementsAre(HasSubstr("nested deeper than 64 levels")));
  std::string chain = "a0: &a0 [x]\n";
  for (int i = 1; i < 100; ++i) chain += fmt::format("a{}: &a{} [*a{}]\n", i, i, i - 1);
  EXPECT_THAT(complaints_of(read_documents(chain, "f.yaml")),
              ElementsAre(HasSubstr("nested deeper than 64 levels")));
}

TEST(Document, ListsAreTakenApartWithTheLinesOfTheirItems) {
  const std::string yaml =
      "apiVersion: v1\n"
      "kind: List\n"
      "items:\n"
      "- kind: Tier\n"
      "  metadata:\n"
      "    name: one\n"
      "- 5\n"
      "- kind: List\n"
      "  items:\n"
      "  - kind: Namespace\n"
      "    metadata: {name: two}\n";
  const auto read = read_documents(yaml, "l.yaml");
  EXPECT_THAT(complaints_of(read), ElementsAre("l.yaml:7: List: items[1]: 5: must be an object"));
  EXPECT_THAT(bodies_of(read), ElementsAre(R"({"kind":"Tier","metadata":{"name":"one"}})",
                                           R"({"kind":"Namespace","metadata":{"name":"two"}})"));
  EXPECT_EQ(read.documents[0].line_of.at("metadata.name"), 6);
  EXPECT_EQ(read.documents[1].line, 10);
  EXPECT_EQ(read.documents[1].line_of.at("metadata.name"), 11);
}

TEST(Document, AListWithoutAListOfItemsIsSaidToBeOne) {
  EXPECT_THAT(complaints_of(read_documents("apiVersion: v1\nkind: List\nitems: 5\n", "l.yaml")),
              ElementsAre("l.yaml:3: List: items: 5: must be a list"));
  EXPECT_THAT(complaints_of(read_documents("apiVersion: v1\nkind: List\n", "l.yaml")),
              ElementsAre("l.yaml:1: List: items: required, and missing"));
  EXPECT_THAT(complaints_of(read_documents(R"({"apiVersion":"v1","kind":"PodList","items":{}})", "l.json")),
              ElementsAre("l.json:1: PodList: items: {}: must be a list"));
}

TEST(Document, ItemsOfATypedListNeedNotSayTheirKind) {
  const auto read = read_documents(
      R"({"kind":"TierList","apiVersion":"projectcalico.org/v3","metadata":{},"items":[{"spec":{}}]})",
      "l.json");
  EXPECT_THAT(bodies_of(read),
              ElementsAre(R"({"spec":{},"kind":"Tier","apiVersion":"projectcalico.org/v3"})"));
}

TEST(Document, LongValuesAreShortenedAndControlCharactersNeverReachTheTerminal) {
  EXPECT_EQ(shortened(json::value(std::string(200, 'x'))), "\"" + std::string(79, 'x') + "…");
  const auto read = read_documents("kind: \"T\\e[31m\"\nkind: x\n", "f.yaml");
  ASSERT_EQ(read.complaints.size(), 1U);
  EXPECT_EQ(read.complaints[0].to_string().find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace ocicat
