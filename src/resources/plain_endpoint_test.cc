// What is read straight from the text is what the parser and decode() make of it.
#include <random>

#include "resources/decode_test_support.h"
#include "resources/plain_json.h"

namespace ocicat {
namespace {

namespace json = boost::json;

constexpr std::string_view kWhole = R"({
  "apiVersion": "projectcalico.org/v3", "kind": "WorkloadEndpoint",
  "metadata": {"name": "h1-k8s-api-eth0", "namespace": "shop", "uid": "u", "resourceVersion": "7", "generation": 12,
               "creationTimestamp": "2026-02-03T04:05:06Z", "annotations": {"a": [true, -1, {"b": false}]},
               "labels": {"app": "api", "pcns.x": "handed down", "zone": "", "a": "unsorted"}},
  "spec": {"node": "h1", "orchestrator": "k8s", "workload": "w", "pod": "api", "endpoint": "eth0", "mac": "ee:ee:00",
           "containerID": "c", "interfaceName": "cali1", "serviceAccountName": "default",
           "ipNetworks": ["10.65.0.2/32", "fd00::2/128", "10.65.0.3"], "profiles": ["kns.shop", "ksa.shop.default"]}})";

// Nothing: it is no document, or decode() does not take it.
std::optional<WorkloadEndpoint> parsed(std::string_view text) {
  boost::system::error_code error;
  const auto value = json::parse(text, error);
  if (error || !value.is_object()) return std::nullopt;
  auto object = value.get_object();
  if (!object.contains("apiVersion")) object["apiVersion"] = "projectcalico.org/v3";
  if (!object.contains("kind")) object["kind"] = "WorkloadEndpoint";
  const auto key = key_of(object);
  auto resource = decode(Kind::kWorkloadEndpoint, object);
  if (!key || key->kind != Kind::kWorkloadEndpoint || !resource) return std::nullopt;
  auto endpoint = std::get<WorkloadEndpoint>(*std::move(resource));
  EXPECT_EQ(key->name, endpoint.metadata.name);
  EXPECT_EQ(key->ns, endpoint.metadata.ns);
  return endpoint;
}

struct PlainEndpoint {
  WorkloadEndpoint endpoint;
  std::size_t bytes = 0;
};
// Nothing: it is for decode() to tell.
std::optional<PlainEndpoint> plain_from(std::string_view text) {
  PlainEndpoint read;
  read.bytes = read_plain_endpoint(text, read.endpoint);
  return read.bytes == 0 ? std::nullopt : std::optional(std::move(read));
}

TEST(PlainEndpoint, IsReadWhole) {
  const auto text = std::string(kWhole) + R"(,{"another": "item"}])";
  const auto read = plain_from(text);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->bytes, kWhole.size());
  EXPECT_EQ(read->endpoint, parsed(kWhole));
  EXPECT_EQ(read->endpoint.metadata.labels.size(), 6U);
}

TEST(PlainEndpoint, NeedsNoKindAndNoLabels) {
  const std::string text = R"({"metadata":{"name":"a","namespace":"b"},"spec":{}})";
  const auto read = plain_from(text);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->endpoint, parsed(text));
}

TEST(PlainEndpoint, IsNoneWhereTheTextEndsBeforeIt) {
  for (std::size_t size = 0; size < kWhole.size(); ++size) {
    // Nothing behind the text is looked at: its copy has its own end.
    const std::vector<char> text(kWhole.begin(), kWhole.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_FALSE(plain_from({text.data(), text.size()})) << size;
  }
}

// Each of these is for decode() to judge, whatever it says.
TEST(PlainEndpoint, LeavesToDecodeWhatIsOutOfTheOrdinary) {
  const auto with = [](std::string_view before, std::string_view after) {
    std::string text(kWhole);
    const auto at = text.find(before);
    EXPECT_NE(at, std::string::npos) << before;
    return text.replace(at, before.size(), after);
  };
  for (const auto& [before, after] : std::initializer_list<std::pair<std::string_view, std::string_view>>{
           {R"("api", "pcns)", R"("a\u0070i", "pcns)"},
           {R"("api", "pcns)", "\"\xc3\xa4\", \"pcns"},
           {R"("api", "pcns)", "\"a\tb\", \"pcns"},
           {R"("api", "pcns)", R"(7, "pcns)"},
           {R"("zone": "")", R"("app": "twice")"},
           {R"("zone": "")", R"("zone": null)"},
           {R"("uid": "u")", R"("name": "twice")"},
           {R"("uid": "u")", R"("labels": {})"},
           {R"("uid": "u")", R"("uid": null)"},
           {R"("uid": "u")", R"("unheard": "of")"},
           {R"("name": "h1-k8s-api-eth0")", R"("name": "")"},
           {R"("namespace": "shop", )", ""},
           {R"("generation": 12)", R"("generation": 012)"},
           {R"("generation": 12)", R"("generation": 1.5)"},
           {R"("generation": 12)", R"("generation": 12,)"},
           {R"("kind": "WorkloadEndpoint")", R"("kind": "Profile")"},
           {R"(calico.org/v3)", R"(calico.org/v4)"},
           {R"("mac": "ee:ee:00")", R"("ipNATs": [{"externalIP": "1.2.3.4"}])"},
           {R"("mac": "ee:ee:00")", R"("ports": [{"name": "http", "protocol": "TCP", "port": 80}])"},
           {R"("mac": "ee:ee:00")", R"("qosControls": {"ingressBandwidth": 1000000})"},
           {R"("mac": "ee:ee:00")", R"("allowSpoofedSourcePrefixes": ["10.0.0.0/8"])"},
           {R"("10.65.0.3")", R"("10.65.0.300")"},
           {R"("kns.shop")", R"(true)"},
           {R"("spec")", R"("status")"},
       }) {
    EXPECT_FALSE(plain_from(with(before, after))) << after;
  }
}

// One that decode() does not take, or that is no JSON, is not read; and who is read is what decode() says.
TEST(PlainEndpoint, IsWhatDecodeSaysWhateverComes) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const auto upto = [&](std::size_t most) { return random() % most; };
  constexpr std::string_view kSigns = "\"\\{}[]:,0a- \n\t\x01\xc3";
  int read_plain = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string text(kWhole);
    for (auto changes = upto(4); changes > 0; --changes) {
      const auto at = upto(text.size());
      const auto length = std::min(upto(12), text.size() - at);
      switch (upto(4)) {
        case 0:
          text.erase(at, length);
          break;
        case 1:
          text.insert(at, 1, kSigns[upto(kSigns.size())]);
          break;
        case 2:
          text.insert(upto(text.size()), text.substr(at, length));
          break;
        default:
          text[at] = kSigns[upto(kSigns.size())];
          break;
      }
    }
    const auto read = plain_from(text);
    if (!read) continue;
    ++read_plain;
    ASSERT_LE(read->bytes, text.size());
    ASSERT_EQ(parsed(std::string_view(text).substr(0, read->bytes)), read->endpoint) << text;
  }
  EXPECT_GT(read_plain, 5'000);
}

TEST(PlainJson, TakesSoManyObjectsInEachOtherAndNoMore) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + "1" + std::string(depth, ']');
  };
  EXPECT_TRUE(PlainJson(nested(15)).anything());
  EXPECT_FALSE(PlainJson(nested(16)).anything());
  EXPECT_FALSE(PlainJson(nested(1'000'000)).anything());
}

}  // namespace
}  // namespace ocicat
