import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.ResultSeverityEnum;
import ca.uhn.fhir.validation.SingleValidationMessage;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import javax.xml.transform.stream.StreamSource;
import javax.xml.validation.Schema;
import javax.xml.validation.SchemaFactory;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.PrePopulatedValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.SnapshotGeneratingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.UnknownCodeSystemWarningValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;
import org.hl7.fhir.r4.model.Bundle;
import org.xml.sax.SAXException;

/**
 * Judges resources with HAPI's validator, offline: one on each line of stdin, after the version it is
 * written in ({@code R4 {...}}); for each a line of errors on stdout, separated by tabs, empty when
 * there are none. Profiles that a resource claims and nobody knows are errors. Codes of systems that
 * are not at hand are not. {@code XM <AuditMessage...} is judged by a schema of XML.
 *
 * <p>Arguments: a Bundle of R4 profiles, value sets and code systems, and the schema. Run from source,
 * with HAPI's jars: {@code java -cp 'lib/*' Validate.java balp.json dicom-audit.xsd}.
 */
public final class Validate {
	private Validate() {}

	public static void main(String[] args) throws Exception {
		String profiles = Files.readString(Path.of(args[0]));
		BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
		PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
		System.setOut(System.err); // HAPI's log goes there
		Schema messages = SchemaFactory.newDefaultInstance().newSchema(Path.of(args[1]).toFile());
		FhirValidator r4 = null;
		FhirValidator r5 = null;
		for (String line = in.readLine(); line != null; line = in.readLine()) {
			String resource = line.substring(3);
			if (line.startsWith("R4 ")) {
				r4 = r4 == null ? validator(FhirContext.forR4Cached(), profiles) : r4;
				out.println(errors(r4, resource));
			} else if (line.startsWith("R5 ")) {
				r5 = r5 == null ? validator(FhirContext.forR5Cached(), null) : r5;
				out.println(errors(r5, resource));
			} else if (line.startsWith("XM ")) {
				out.println(errors(messages, resource));
			} else {
				throw new IllegalArgumentException("expected `R4 `, `R5 ` or `XM ` and what to judge: " + line);
			}
		}
	}

	private static FhirValidator validator(FhirContext context, String profiles) {
		PrePopulatedValidationSupport known = new PrePopulatedValidationSupport(context);
		if (profiles != null) {
			Bundle bundle = context.newJsonParser().parseResource(Bundle.class, profiles);
			bundle.getEntry().forEach(entry -> known.addResource(entry.getResource()));
		}
		UnknownCodeSystemWarningValidationSupport unknown = new UnknownCodeSystemWarningValidationSupport(context);
		unknown.setNonExistentCodeSystemSeverity(IValidationSupport.IssueSeverity.WARNING);
		ValidationSupportChain chain = new ValidationSupportChain(
				new DefaultProfileValidationSupport(context),
				known,
				new InMemoryTerminologyServerValidationSupport(context),
				new CommonCodeSystemsTerminologyService(context),
				new SnapshotGeneratingValidationSupport(context),
				unknown);
		FhirInstanceValidator module = new FhirInstanceValidator(chain);
		module.setErrorForUnknownProfiles(true);
		return context.newValidator().registerValidatorModule(module);
	}

	private static String errors(Schema messages, String message) {
		try {
			messages.newValidator().validate(new StreamSource(new StringReader(message)));
			return "";
		} catch (SAXException | IOException wrong) {
			return wrong.getMessage().replaceAll("\\s+", " ");
		}
	}

	private static String errors(FhirValidator validator, String resource) {
		StringBuilder errors = new StringBuilder();
		boolean talkative = System.getenv("VALIDATE_WARNINGS") != null;
		for (SingleValidationMessage message : validator.validateWithResult(resource).getMessages()) {
			boolean error = message.getSeverity().ordinal() >= ResultSeverityEnum.ERROR.ordinal();
			if (error || talkative) {
				String words = message.getMessage().replaceAll("\\s+", " ");
				errors.append(errors.length() == 0 ? "" : "\t");
				errors.append(error ? "" : "(" + message.getSeverity().getCode() + ") ");
				errors.append(message.getLocationString()).append(": ").append(words);
			}
		}
		return errors.toString();
	}
}
