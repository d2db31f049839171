//! The description of routes: where the fields of an event are, what the responses hold, and names
//! that do not collide.

use callboard::Runtime;
use callboard::http::{Info, Rest, Route, RouteFault, Routes, openapi_json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Server, events};

/// How many.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Amount {
    number: u8,
    #[serde(default)]
    unit: String,
}

/// What another part of the program calls an amount.
mod other {
    use super::{Deserialize, JsonSchema, Serialize};

    #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
    pub(super) struct Amount {
        pub(super) text: String,
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "by")]
enum Choice {
    Size { size: i64 },
    Name { name: String },
}

events! {
    #[schemars(description = "Bakes.")]
    "cake.bake" => Bake { cake_id: i64, amount: Amount, sugar: other::Amount } -> Baked;
    "cake.baked" => Baked { amount: Amount };
    "cake.find" => Find { cake_id: i64, size: Option<i64>, tag: Vec<String> } -> Found;
    "cake.found" => Found { #[serde(skip_serializing_if = "Option::is_none")] name: Option<String> };
    "cake.eat" => Eat { cake_id: String } -> Eaten;
    "cake.eaten" => Eaten {};
    "cake.order" => Order { #[serde(flatten)] choice: Choice, note: Option<String> } -> Created;
    "cake.created" => Created {};
    "cake.drop" => Drop { why: String };
    "cake.pack" => Pack {
        cakes: u32,
        gift: Option<i64>,
        #[schemars(example = 7)]
        sugar: u32,
        #[schemars(range(min = 2))]
        pieces: u32,
        #[schemars(range(max = 9))]
        layers: u64,
        #[serde(default)]
        candles: u64
    } -> Packed;
    "cake.packed" => Packed {};
}

fn described(routes: &Routes) -> Value {
    assert!(routes.faults().is_empty(), "{:?}", routes.faults());
    routes.openapi(&Info::new("Cakes", "1.2.3").server("https://cakes.example"))
}

fn schema<'d>(document: &'d Value, reference: &Value) -> &'d Value {
    let reference = reference["$ref"].as_str().unwrap();
    document.pointer(reference.strip_prefix('#').unwrap()).unwrap()
}

#[test]
fn fields_are_where_the_method_reads_them() {
    let document = described(
        &Routes::new().get::<Find>("/cakes/{cake_id}").put::<Bake>("/cakes/{cake_id}/bake"),
    );
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"], json!({ "title": "Cakes", "version": "1.2.3" }));
    assert_eq!(document["servers"], json!([{ "url": "https://cakes.example" }]));
    let find = &document["paths"]["/cakes/{cake_id}"]["get"];
    let parameters = find["parameters"].as_array().unwrap();
    let brief = parameters.iter().map(|p| json!([p["in"], p["name"], p["required"]]));
    assert_eq!(
        brief.collect::<Vec<_>>(),
        [
            json!(["path", "cake_id", true]),
            json!(["query", "size", false]),
            json!(["query", "tag", true])
        ]
    );
    assert_eq!(parameters[0]["schema"]["maximum"], i64::MAX);
    assert_eq!(parameters[1]["schema"]["type"], "integer");
    assert_eq!(find["requestBody"], Value::Null);
}

#[test]
fn a_body_holds_what_the_path_does_not() {
    let document = described(
        &Routes::new().put::<Bake>("/cakes/{cake_id}/bake").post::<Eat>("/cakes/{cake_id}/eat"),
    );
    let bake = &document["paths"]["/cakes/{cake_id}/bake"]["put"];
    assert_eq!(bake["description"], "Bakes.");
    let content = &bake["requestBody"]["content"]["application/json"];
    assert_eq!(content["schema"]["$ref"], "#/components/schemas/BakeBody");
    let body = schema(&document, &content["schema"]);
    assert_eq!(body["required"], json!(["amount", "sugar"]));
    assert_eq!(body["properties"]["cake_id"], Value::Null);
    let eat = &document["paths"]["/cakes/{cake_id}/eat"]["post"];
    assert_eq!(eat["requestBody"], Value::Null);
    assert_eq!(eat["parameters"][0]["schema"]["minLength"], 1);
}

#[test]
fn types_of_one_name_keep_apart_and_so_do_their_two_forms() {
    let document = described(&Routes::new().post::<Bake>("/bake"));
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let names: Vec<_> = schemas.keys().collect();
    assert_eq!(
        names,
        ["Amount", "Amount2", "AmountOutput", "Bake", "Baked", "FieldError", "Problem"]
    );
    assert_eq!(schemas["Bake"]["properties"]["sugar"]["$ref"], "#/components/schemas/Amount2");
    assert_eq!(schemas["Amount"]["required"], json!(["number"]));
    assert_eq!(schemas["AmountOutput"]["required"], json!(["number", "unit"]));
    let amount = &schemas["Baked"]["properties"]["amount"];
    assert_eq!(amount["$ref"], "#/components/schemas/AmountOutput");
}

#[test]
fn responses_are_those_that_the_route_gives() {
    let find = Route::get::<Find>("/cakes/{cake_id}").error_status("eaten", 410);
    let document = described(
        &Routes::new()
            .route(find.error_status("too_sweet", 409))
            .post::<Eat>("/eat")
            .post::<Order>("/cakes")
            .publish::<Drop>("/drop")
            .route(Route::post::<Order>("/orders").status(202)),
    );
    let statuses = |path: &str, method: &str| {
        let responses = document["paths"][path][method]["responses"].as_object().unwrap();
        responses.keys().map(|status| status.parse().unwrap()).collect::<Vec<u16>>()
    };
    let refused = [400, 401, 403, 404, 406, 408, 409, 413, 415, 422, 429, 500, 501, 503, 504];
    assert_eq!(
        statuses("/cakes/{cake_id}", "get"),
        [200, 204, 400, 401, 403, 404, 406, 409, 410, 422, 429, 500, 501, 503, 504]
    );
    assert_eq!(statuses("/eat", "post"), [&[204], &refused[..]].concat());
    assert_eq!(statuses("/cakes", "post"), [&[201], &refused[..]].concat());
    assert_eq!(statuses("/orders", "post"), [&[202], &refused[..]].concat());
    assert_eq!(statuses("/drop", "post"), [202, 400, 406, 408, 413, 415, 422, 429, 500, 503]);
    let find = &document["paths"]["/cakes/{cake_id}"]["get"]["responses"];
    assert_eq!(find["404"]["$ref"], "#/components/responses/NotFound");
    assert_eq!(find["410"]["description"], "`eaten`");
    assert!(find["409"]["description"].as_str().unwrap().ends_with("Or: `too_sweet`."));
    let shared = &document["components"]["responses"];
    for (problem, status, code) in [
        (&shared["NotFound"], 404, "not_found"),
        (&shared["Conflict"], 409, "conflict"),
        (&find["409"], 409, "too_sweet"),
        (&find["410"], 410, "eaten"),
    ] {
        let content = &problem["content"]["application/problem+json"];
        assert_eq!(content["schema"]["$ref"], "#/components/schemas/Problem");
        let example = &content["example"];
        assert_eq!((&example["status"], &example["code"]), (&status.into(), &code.into()));
        assert_eq!(example["type"], format!("urn:callboard:problem:{code}"));
    }
}

/// Swagger UI would fill in the largest value.
#[test]
fn an_integer_without_limits_has_an_example() {
    let document = described(&Routes::new().post::<Pack>("/pack").get::<Find>("/cakes/{cake_id}"));
    let fields = &document["components"]["schemas"]["Pack"]["properties"];
    assert_eq!(
        (&fields["cakes"]["examples"], &fields["cakes"]["maximum"]),
        (&json!([1]), &json!(u32::MAX))
    );
    assert_eq!(fields["gift"]["examples"], json!([1]));
    assert_eq!(fields["sugar"]["examples"], json!([7]));
    for limited in ["pieces", "layers", "candles"] {
        assert_eq!(fields[limited]["examples"], Value::Null, "{limited}");
    }
    // Where it would be sent unasked, there is none.
    let parameters = document["paths"]["/cakes/{cake_id}"]["get"]["parameters"].as_array().unwrap();
    assert!(parameters.iter().all(|parameter| parameter["schema"]["examples"].is_null()));
}

#[test]
fn words_follow_from_the_name_or_are_given() {
    let route = Route::post::<Eat>("/eat").tag("Food").tag("Fun").summary("Eats it");
    let route = route.description("All of it.").operation_id("eatCake").deprecated();
    let document = described(
        &Routes::new()
            .post::<Eat>("/taste")
            .route(route)
            .route(Route::post::<Eat>("/hidden").hidden())
            .post::<Eat>("/again"),
    );
    let paths = &document["paths"];
    let words = |path: &str| {
        let post = &paths[path]["post"];
        json!([post["tags"], post["summary"], post["operationId"], post["deprecated"]])
    };
    assert_eq!(words("/taste"), json!([["Cake"], "Eat cake", "cake_eat", null]));
    assert_eq!(words("/again"), json!([["Cake"], "Eat cake", "cake_eat_2", null]));
    assert_eq!(words("/eat"), json!([["Food", "Fun"], "Eats it", "eatCake", true]));
    assert_eq!(paths["/eat"]["post"]["description"], "All of it.");
    assert_eq!(paths["/hidden"], Value::Null);
    let tags = json!([{ "name": "Cake" }, { "name": "Food" }, { "name": "Fun" }]);
    assert_eq!(document["tags"], tags);
}

#[test]
fn paths_that_differ_in_a_name_are_one() {
    let routes = Routes::new().get::<Find>("/cakes/{cake_id}").post::<Eat>("/pies/{cake_id}");
    let document = described(&routes.route(Rest::new().prefix("/x").route::<Order>()));
    assert!(document["paths"]["/x/cakes/order"]["post"].is_object());
    let same = Routes::new().get::<GetPie>("/{pie_id}").post::<Eat>("/{cake_id}");
    let document = described(&same);
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.keys().collect::<Vec<_>>(), ["/{pie_id}"]);
    let parameter = &paths["/{pie_id}"]["post"]["parameters"][0];
    assert_eq!(
        (&parameter["name"], &parameter["schema"]["type"]),
        (&json!("pie_id"), &json!("string"))
    );
}

events! {
    "pie.get" => GetPie { pie_id: i64 } -> Eaten;
}

#[test]
fn an_operation_id_that_two_routes_have_is_a_fault() {
    let route = |path: &str| Route::post::<Eat>(path).operation_id("eat");
    let faults = Routes::new().route(route("/a")).route(route("/b")).faults();
    let [RouteFault::SharedId { id, first, second }] = &faults[..] else { panic!("{faults:?}") };
    assert_eq!(id, "eat");
    assert_eq!((first.as_str(), second.as_str()), ("POST /a -> cake.eat", "POST /b -> cake.eat"));
}

#[actix_web::test]
async fn the_description_is_served() {
    let routes = Routes::new().post::<Order>("/cakes");
    let document = described(&routes);
    let runtime = Runtime::new().start().await.unwrap();
    let configure = openapi_json(runtime.bus(), &document);
    let server = Server::serve(runtime, configure);
    assert_eq!(server.get("/openapi.json").await.ok(200), document);
    let problem = server.post("/openapi.json", &json!({})).await;
    problem.problem(405, "method_not_allowed");
    let order = schema(
        &document,
        &document["paths"]["/cakes"]["post"]["requestBody"]["content"]["application/json"]["schema"],
    );
    assert!(order.to_string().contains("note"), "{order}");
}
