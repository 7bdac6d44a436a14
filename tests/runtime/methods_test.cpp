#include <kindling/methods.h>

#include <nlohmann/json.hpp>

#include "support/catch.h"
#include "support/small_data.h"

using namespace kindling;

TEST_CASE("methods are parsed into a canonical text", "[methods]") {
  CHECK(MethodSpec::parse("he").text() == "he");
  CHECK(MethodSpec::parse("ibci:law=he,k=3").text() == "ibci:k=3,law=he");
  CHECK(MethodSpec::parse("ibci:alpha=0.9/0.5/0.1").options.at("alpha") == "0.9/0.5/0.1");
}

TEST_CASE("what is no method is refused with what is known", "[methods]") {
  CHECK_THROWS_WITH(MethodSpec::parse("glorot"), Catch::Contains("glorot") && Catch::Contains("xavier"));
  CHECK_THROWS_WITH(MethodSpec::parse("ibci:kk=3"), Catch::Contains("kk") && Catch::Contains("cache_mb"));
  CHECK_THROWS_WITH(MethodSpec::parse("ibci:k=three"), Catch::Contains("three"));
  CHECK_THROWS_WITH(MethodSpec::parse("ibci:law=kaiming"), Catch::Contains("kaiming") && Catch::Contains("orthogonal"));
  for (const char* text : {"", "he:", "he:gain", "he:gain=", "he:=1", "he:gain=1,gain=2", "he:gain=nan",
                           "ibci:alpha=0.1/", "ibci:scores=yes"}) {
    INFO(text);
    CHECK_THROWS_AS(MethodSpec::parse(text), Error);
  }
}

TEST_CASE("every method of the catalogue runs, reports every layer, and needs data only if it says so", "[methods]") {
  const Dataset data = test::small_data(500);
  for (const MethodInfo& info : method_catalogue()) {
    INFO(info.name);
    Model model = Model::parse("20-10-4");
    // Bottleneck training is hours of work by its defaults.
    const bool trains = info.name.starts_with("bottleneck");
    const MethodSpec spec =
        MethodSpec::parse(trains ? info.name + ":critic=8,iterations=2,post=2,warmup=2" : info.name);
    if (info.needs_data) CHECK_THROWS_WITH(initialize(model, spec, nullptr, {}), Catch::Contains("--data"));
    const auto report = nlohmann::json::parse(initialize(model, spec, info.needs_data ? &data : nullptr, {}));
    CHECK(report["method"] == spec.text());
    CHECK(report["seconds"].get<double>() >= 0);
    CHECK(report["layers"].size() == 2);
    for (const Layer& layer : model.layers()) {
      double square = 0;
      for (const float w : layer.weight.flat()) square += w * w;
      CHECK(square > 0);
    }
    // Every option that the catalogue lists is one that the method reads.
    for (const auto& [option, description] : info.options) {
      CHECK_THROWS_WITH(MethodSpec::parse(info.name + ":no_such_option=1"), Catch::Contains(option));
    }
  }
}

TEST_CASE("controls differ in the selection alone", "[methods]") {
  CHECK(control_of(MethodSpec::parse("ibci:law=he,k=3")).text() == "ibci-control:k=3,law=he");
  CHECK(control_of(MethodSpec::parse("ibci:alpha=search,draws=5")).text() == "ibci-control");
  CHECK(control_of(MethodSpec::parse("bottleneck:beta=0.1")).text() == "bottleneck-control:beta=0.1");
  CHECK(control_of(MethodSpec::parse("he")).name.empty());
}
